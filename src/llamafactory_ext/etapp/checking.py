"""From a prediction file to figures, without a model: what agents did, against what should have happened."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import CallParseError, DataError
from ..metrics.crossed import Cell, Values, flip_rate, interval, mean, pass_power, standard_error
from ..metrics.judge import prices_from_environment
from ..metrics.predictions import Prediction, PredictionFile, read_predictions
from ..metrics.report import Figure, Report, Verdict
from ..toolcalls import Tool, detect
from .cases import Case, Source, trial_of
from .checks import Deeds, Outcome, check
from .episodes import damaged, fault_in
from .jobs import BENCHMARK, check_order
from .origin import one_run, own_prompts
from .registry import ALL, FINDERS
from .whole import as_run, settings_of, unfinished, whole_cases

CHECKED = ("SR", "partial", "task", "personal", "SR without extras")
APART = " (no data)"
"""Ends the figures of cases whose tools lack data; an agent cannot solve these as they are meant."""
_TOOLS = tuple(Tool(name) for name in ALL)
_READ = 1 << 16  # characters of an answer in which calls are looked for


@dataclass(frozen=True)
class Acted:
    """One case as it was acted in.

    Attributes:
        case: the request.
        trial: which.
        prediction: as the file has it.
        episode: of the prediction.
        outcome: of the checks; None where the case has none.
    """

    case: Case
    trial: int
    prediction: Prediction
    episode: Mapping[str, Any]
    outcome: Outcome | None

    @property
    def cell(self) -> Cell:
        """User and number of the instruction."""
        return self.case.user, self.case.number


def read_acted(source: Source, path: Path) -> tuple[PredictionFile, list[Acted]]:
    """Read a prediction file and check its cases.

    Raises:
        DataError: no such file, one put together of several runs, or one whose episodes answer other prompts.
    """
    file = read_predictions(path, BENCHMARK)
    source, acted = as_run(source, path), []
    if not file.predictions:
        raise DataError(f"{path} holds no episode; run `llamafactory-ext etapp run`.")
    for prediction in file.predictions:
        case, episode = source.case(prediction.id), prediction.episode
        if episode is None:
            raise DataError(f"{path}: {prediction.id} has no episode; run it with `llamafactory-ext etapp run`.")
        if (fault := fault_in(prediction)) is not None:
            raise damaged(path, prediction.id, fault)
        try:
            outcome = None if case.checks is None else _checked(source, case, prediction, episode)
        except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError) as error:
            raise damaged(path, prediction.id, repr(error)) from None
        acted.append(Acted(case, trial_of(prediction.id), prediction, episode, outcome))
    one_run(path, file.predictions)
    own_prompts(source, path, file.predictions)
    check_order(source, path, [(one.prediction.id, one.episode) for one in acted])
    order = {case.id: place for place, case in enumerate(source.cases)}
    told = (*other_source(source, path), *unfinished(path, (one.prediction.id for one in acted)))
    file = replace(file, notes=(*file.notes, *told))
    return file, sorted(acted, key=lambda one: (order[one.case.id], one.trial))


def other_source(source: Source, path: Path) -> list[str]:
    """Return a note where the run read other cases than these; its settings lie beside the file."""
    asked = settings_of(path).get("source")
    if asked in (None, source.sha256):
        return []
    return [f"the run read other cases than {source.name} has now; give the --source of the run, or run it again"]


def _checked(source: Source, case: Case, prediction: Prediction, episode: Mapping[str, Any]) -> Outcome:
    world = source.worlds[case.user]
    assert case.checks is not None
    is_kept = episode["sandbox"] != "reference"  # there no change reaches the world, so its state tells nothing
    checks = {part: value for part, value in case.checks.items() if is_kept or part != "state"}
    deeds = Deeds(episode["calls"], prediction.prediction, episode["diff"], world)
    return check(checks, source.slots.get(case.user, {}), deeds)


def scores_of(one: Acted) -> dict[str, float]:
    """Return the scores of a case, each from 0 to 1; those that do not apply are absent.

    Cases whose tools lack data have scores of other names, so that no figure mixes them with the others.
    """
    scores = _scores(one)
    return {f"{name}{APART}": score for name, score in scores.items()} if one.case.degraded else scores


def _scores(one: Acted) -> dict[str, float]:
    scores: dict[str, float] = {}
    if one.outcome is not None:
        parts = {"task": one.outcome.part(personal=False), "personal": one.outcome.part(personal=True)}
        scores = {"SR": float(one.outcome.success), "partial": one.outcome.partial}
        scores |= {name: float(holds) for name, holds in parts.items() if holds is not None}
        scores["SR without extras"] = float(one.outcome.success and not one.outcome.collateral)
    calls = one.episode["calls"]
    if calls:
        scores["valid calls"] = sum(call["failed"] is None for call in calls) / len(calls)
        named = {call["name"] for call in calls}
        scores["tool precision"] = len(named & set(one.case.given)) / len(named)
    offered = set(one.case.given)
    if offered:
        scores["tool recall"] = len({call["name"] for call in calls} & offered) / len(offered)
    if offered and one.episode["setting"] == "retrieval":
        scores["search recall"] = len(set(one.episode.get("found") or ()) & offered) / len(offered)
    return scores


def report_of(source: Source, file: PredictionFile, acted: Sequence[Acted], n_references: int) -> Report:
    """Return figures over all cases, with intervals of the crossed bootstrap."""
    verdicts = tuple(_verdict(one) for one in acted)
    names = sorted(
        dict.fromkeys(name for verdict in verdicts for name in verdict.scores), key=lambda name: name.endswith(APART)
    )
    figures = [_figure(name, values_of(acted, name)) for name in names]
    successes = successes_of(acted)
    trials = 1 + max(one.trial for one in acted)
    for k in range(2, trials + 1):
        if (power := pass_power(successes, k)) is None:
            break
        figures.append(Figure(f"pass^{k}", power, len(successes), 0, None))
    return Report(
        BENCHMARK,
        "strict",
        tuple(figures),
        file.sha256,
        source.sha256,
        tuple(sorted({one.prediction.model_hash for one in acted})),
        n_references,
        whole_cases(file.path, (one.prediction.id for one in acted)),
        (*as_run(source, file.path).notes, *file.notes, *_notes(acted, successes)),
        None,
        verdicts,
    )


def values_of(acted: Sequence[Acted], name: str) -> Values:
    """Return a score by user and instruction, in the mean over trials."""
    found: dict[Cell, list[float]] = {}
    for one in acted:
        scores = scores_of(one)
        if name in scores:
            found.setdefault(one.cell, []).append(scores[name])
    return {cell: sum(scores) / len(scores) for cell, scores in found.items()}


def successes_of(acted: Sequence[Acted]) -> dict[Cell, list[bool]]:
    """Return the success of all trials, by case; of those cases whose tools have their data."""
    found: dict[Cell, list[bool]] = {}
    for one in acted:
        if one.outcome is not None and not one.case.degraded:
            found.setdefault(one.cell, []).append(one.outcome.success)
    return found


def _figure(name: str, values: Values) -> Figure:
    return Figure(name, mean(values), len(values), 0, standard_error(values), interval(values))


def _verdict(one: Acted) -> Verdict:
    detail: dict[str, Any] = {"end": one.episode["end"], "turns": one.episode["turns"]}
    if one.outcome is not None:
        detail["missed"] = [condition.about for condition in one.outcome.conditions if not condition.holds]
        detail["collateral"] = [dict(effect) for effect in one.outcome.collateral]
    group = f"instruction {one.case.number:02d}"
    text = json.dumps(detail, ensure_ascii=False)
    return Verdict(one.prediction.id, scores_of(one), str(one.episode["end"]), True, text, group)


def _notes(acted: Sequence[Acted], successes: Mapping[Cell, Sequence[bool]]) -> list[str]:
    ends = Counter(str(one.episode["end"]) for one in acted)
    notes = [f"episodes ended by: {', '.join(f'{end} {count}' for end, count in ends.most_common())}"]
    calls = [(one, call) for one in acted for call in one.episode["calls"]]
    failed = Counter(str(call["failed"]) for _, call in calls if call["failed"] is not None)
    kinds = f": {', '.join(f'{kind} {count}' for kind, count in failed.most_common())}" if failed else ""
    notes.append(f"{len(calls)} calls, {failed.total()} without a result{kinds}")
    repeated = sum(_repeats(one.episode["calls"]) for one in acted)
    collateral = sum(len(one.outcome.collateral) for one in acted if one.outcome is not None)
    notes.append(f"{repeated} calls repeat an earlier one of their case; {collateral} effects that nobody asked for")
    beyond = [count for one in acted if (count := reads_beyond(one)) is not None]
    if beyond:
        notes.append(
            f"{sum(beyond)} reads of given tools that no check asks for, in {sum(map(bool, beyond))} of {len(beyond)} "
            "episodes: a hint of proactivity, which no figure counts"
        )
    sums = {name: sum(one.episode[name] for one in acted) for name in ("turns", "prompt_tokens", "completion_tokens")}
    seconds = sum(one.episode.get("seconds") or 0 for one in acted)
    counts = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in sums.items())
    notes.append(f"{counts}, {seconds:.0f} seconds{_cost(sums)}")
    strange = sum(call["name"] not in ("", *one.case.given, *FINDERS) for one, call in calls)
    notes.append(f"{strange} calls of tools that are not among the case's")
    modes = {(one.episode["sandbox"], one.episode["setting"], one.episode["strategy"]) for one in acted}
    notes += [f"sandbox {mode}, tools {setting}, strategy {strategy}" for mode, setting, strategy in sorted(modes)]
    refused = sum(one.episode.get("refused_expressions") or 0 for one in acted)
    notes += [f"{refused} arguments were expressions, which nothing here evaluates"] if refused else []
    notes += _lost(acted)
    flips = flip_rate(successes)
    notes += [f"{flips:.1%} of cases succeed in some trials and fail in others"] if flips is not None else []
    unchecked = sum(one.outcome is None for one in acted)
    notes += [f"{unchecked} cases have no checks; only a judge can tell about them"] if unchecked else []
    degraded = sum(bool(one.case.degraded) for one in acted)
    return notes + (
        [f'{degraded} episodes are of cases whose tools lack data; their figures end with "{APART.strip()}"']
        if degraded
        else []
    )


def _lost(acted: Sequence[Acted]) -> list[str]:
    """Return notes on replies that did not come whole, and on calls that no server read."""
    cut = [one.episode.get("cut") or 0 for one in acted]
    notes = [
        f"{sum(cut)} replies, of {sum(map(bool, cut))} episodes, were cut off at the most tokens of a reply; a run "
        "with a higher --max_new_tokens lets them end"
    ]
    unread = [one for one in acted if one.episode["strategy"] == "fc" and _holds_call(one.prediction.prediction)]
    lost = (
        f"{len(unread)} answers hold a call as text, which nobody executed, such as {unread[0].prediction.id}; the "
        "server may not read the calls of this model (vLLM: --enable-auto-tool-choice --tool-call-parser)"
        if unread
        else ""
    )
    return [*(notes if any(cut) else ()), *([lost] if lost else ())]


def _holds_call(answer: str) -> bool:
    """Tell whether an answer makes a call of a tool that there is."""
    try:
        return any(found.call.name in ALL for found in detect(answer[:_READ], _TOOLS))
    except CallParseError:
        return False


def _cost(sums: Mapping[str, int]) -> str:
    """Return what the agent's tokens cost, where its prices are known; a judge's are counted apart."""
    prices = prices_from_environment("agent")
    if prices is None:
        return ""
    return f", {(sums['prompt_tokens'] * prices[0] + sums['completion_tokens'] * prices[1]) / 1e6:.4f} USD"


def reads_beyond(one: Acted) -> int | None:
    """Count the tools that an agent read without being asked to; None where no check says what was asked for.

    They are relevant tools, those of the case, that gave a result and changed nothing, and that no check names. ETAPP
    leaves proactivity to a judge; this is what can be told of it without one.
    """
    if one.case.checks is None:
        return None
    asked = _tools_in(one.case.checks)
    read = {call["name"] for call in one.episode["calls"] if call["failed"] is None and call.get("effect") is None}
    return len((read & set(one.case.given)) - asked)


def _tools_in(checks: Any) -> set[str]:
    """Return the names of tools anywhere in checks: bare texts, or the value of "tool"."""
    if isinstance(checks, str):
        return {checks}
    if isinstance(checks, Mapping):
        return set().union(*(_tools_in(part) for part in checks.values()))
    if isinstance(checks, list | tuple):
        return set().union(*(_tools_in(part) for part in checks))
    return set()


def _repeats(calls: Sequence[Mapping[str, Any]]) -> int:
    seen = [json.dumps([call["name"], call["arguments"]], sort_keys=True) for call in calls]
    return len(seen) - len(set(seen))
