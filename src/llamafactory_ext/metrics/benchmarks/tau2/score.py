"""tau2-bench's figures: the mean reward, and pass^k, how likely k trials of a task all succeed.

pass^k of a task with c of n trials right is C(c, k) / C(n, k), without bias (tau-bench, arXiv:2406.12045); the
figure is its mean over tasks. Simulations that never ran (`infrastructure_error`) are left out, as published, and
counted.

`official` takes rewards as tau2-bench recorded them. `strict` works the reward out anew where the file suffices: what
the agent had to say, and calls that had to be made, are read from the messages. States of data bases, assertions on
the environment and a judge's verdicts are taken as recorded, since they need tau2-bench's environments.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ....errors import DataError
from ...crossed import Cell, interval, mean, pass_power, standard_error
from ...report import Figure, Mode, Report, Verdict
from .reading import FINISHED, NEVER_RAN, Results, Simulation, read_results

BENCHMARK: Final = "tau2"
_DEFAULT_BASIS: Final = ("DB", "COMMUNICATE")
_RIGHT: Final = 1e-6  # rewards this near to 1 are successes, as published
Task = Mapping[str, Any]


def check(predictions: Path, references: str, mode: Mode) -> Report:
    """Score the results of one run.

    Args:
        predictions: its results file or folder.
        references: a clone of tau2-bench, a file of its tasks, or the results file again, which holds its tasks.
        mode: official or strict.

    Raises:
        DataError: files that are damaged, of another benchmark, or of more than one run.
    """
    results = read_results(predictions)
    tasks, wanted, sha256 = _references(Path(references), results)
    ran = [one for one in results.simulations if one.ended != NEVER_RAN]
    if not ran:
        raise DataError(f"{predictions}: no simulation ran (all ended by {NEVER_RAN}); repeat the run.")
    verdicts = tuple(_verdict(one, tasks.get(one.task_id, {}), mode) for one in ran)
    trials: dict[Cell, list[bool]] = {}
    rewards: dict[Cell, list[float]] = {}
    places = {name: place for place, name in enumerate(dict.fromkeys(one.task_id for one in ran))}
    for one, verdict in zip(ran, verdicts, strict=True):
        cell = (results.domain, places[one.task_id])
        trials.setdefault(cell, []).append(abs(verdict.scores["reward"] - 1) <= _RIGHT)
        rewards.setdefault(cell, []).append(verdict.scores["reward"])
    return Report(
        benchmark=BENCHMARK,
        mode=mode,
        figures=tuple(_figures(trials, rewards, verdicts)),
        predictions_sha256=results.sha256,
        references_sha256=sha256,
        model_hashes=(),
        n_references=len(wanted),
        n_predictions=len(wanted & places.keys()),
        notes=tuple(_notes(results, ran, verdicts, trials, tasks, mode)),
        verdicts=verdicts,
        part=results.domain,
    )


def _references(path: Path, results: Results) -> tuple[Mapping[str, Task], set[str], str]:
    """Return the tasks by id, the ids of those that a whole run has, and the hash of their file."""
    folder = path / "data" / "tau2" / "domains" if (path / "data").is_dir() else path
    file = folder / results.domain / "tasks.json" if results.domain and folder.is_dir() else path
    if file.is_dir() or not file.is_file():
        raise DataError(
            f"{path} has no tasks of {results.domain or 'the run'}: name a clone of tau2-bench, its tasks.json, or "
            "the results file again, which holds its own tasks."
        )
    content = file.read_bytes()
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file} is no JSON ({error}); get the published tasks again.") from None
    sha256 = hashlib.sha256(content).hexdigest()
    if not isinstance(data, list) or not all(isinstance(task, dict) and "user_scenario" in task for task in data):
        known = results.tasks or {one.task_id: {} for one in results.simulations}
        if read_results(path).sha256 != results.sha256:
            raise DataError(f"{path} holds neither tasks nor the run that is scored; name a clone of tau2-bench.")
        return known, set(known), sha256
    tasks = {str(task.get("id")): task for task in data}
    if unknown := sorted({one.task_id for one in results.simulations} - tasks.keys()):
        raise DataError(f"{file}: there is no task {unknown[0]!r} of the run here; get the version that it ran on.")
    return tasks, _base(file, tasks), sha256


def _base(file: Path, tasks: Mapping[str, Task]) -> set[str]:
    """Return the tasks of the split that tau2-bench reports by default, all where the file beside names none."""
    try:
        found = json.loads((file.parent / "split_tasks.json").read_bytes())["base"]
        return {str(name) for name in found} & tasks.keys()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set(tasks)


def _verdict(one: Simulation, task: Task, mode: Mode) -> Verdict:
    """Return the reward of a simulation with what it missed."""
    if one.ended and one.ended not in FINISHED:
        return Verdict(one.id, {"reward": 0.0}, one.ended, True, "it ended before the agent or the user stopped")
    if mode == "strict" and one.ended:
        reward, category, detail = _anew(one, task)
    else:
        reward, category, detail = one.reward, "", ""
    if reward is None:
        return Verdict(one.id, {"reward": 0.0}, "not_evaluated", False, detail or "there is no reward")
    missed = category or ("success" if abs(reward - 1) <= _RIGHT else "failure")
    return Verdict(one.id, {"reward": reward}, missed, True, detail)


def _anew(one: Simulation, task: Task) -> tuple[float | None, str, str]:
    """Return (reward, parts that were missed, what could not be worked out)."""
    criteria = task.get("evaluation_criteria")
    if not isinstance(criteria, dict):
        return 1.0, "", ""
    if odd := _odd_criteria(criteria):
        raise DataError(f"Task {one.task_id}: {odd} of its evaluation_criteria is no list; get the tasks again.")
    basis = criteria.get("reward_basis") or _DEFAULT_BASIS
    parts = {str(part): _part(str(part), one, criteria) for part in basis}
    if unknown := [part for part, value in parts.items() if value is None]:
        return None, "", f"{', '.join(unknown)} was not recorded, and needs tau2-bench's environments or its judge"
    missed = [part.lower() for part, value in parts.items() if value != 1]
    return math.prod(value for value in parts.values() if value is not None), ", ".join(missed), ""


def _odd_criteria(criteria: Mapping[str, Any]) -> str:
    """Name the first part that holds no list where it must."""
    for key in ("reward_basis", "communicate_info", "actions"):
        if not isinstance(criteria.get(key), list | None):
            return key
    compared = (action.get("compare_args") for action in criteria.get("actions") or () if isinstance(action, dict))
    return "" if all(names is None or _are_names(names) for names in compared) else "compare_args"


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _part(name: str, one: Simulation, criteria: Mapping[str, Any]) -> float | None:
    """Return a part of the reward; None where it is not known."""
    if name == "COMMUNICATE" and one.messages is not None:
        wanted = criteria.get("communicate_info") or []
        return float(all(_is_said(str(text), one.messages) for text in wanted))
    if name == "ACTION" and one.messages is not None:
        calls = [call for message in one.messages for call in _calls(message)]
        gold = criteria.get("actions") or []
        return float(all(any(_is_made(action, call) for call in calls) for action in gold))
    recorded = one.checks.get("reward_breakdown")
    value = recorded.get(name) if isinstance(recorded, dict) else None
    if value is None and name == "DB" and isinstance(one.checks.get("db_check"), dict):
        value = one.checks["db_check"].get("db_reward")
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else None


def _is_said(text: str, messages: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether the agent says a text, case and commas of the thousands aside, as published."""
    said = (one.get("content") for one in messages if one.get("role") == "assistant")
    texts = [one.lower().replace(",", "") for one in said if isinstance(one, str) and one.strip()]
    return any(text.lower() in one for one in texts)


def _calls(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    stated = message.get("tool_calls") if message.get("role") in ("assistant", "user") else None
    return [call for call in stated if isinstance(call, dict)] if isinstance(stated, list) else []


def _is_made(action: Any, call: Mapping[str, Any]) -> bool:
    """Tell whether a call is a gold action; without `compare_args` its own arguments alone count, as published."""
    if not isinstance(action, dict) or action.get("name") != call.get("name"):
        return False
    made, gold = (one.get("arguments") or {} for one in (call, action))
    if not isinstance(made, dict) or not isinstance(gold, dict):
        return False
    compared = made.keys() if (keys := action.get("compare_args")) is None else keys
    return {key: made[key] for key in compared if key in made} == {key: gold[key] for key in compared if key in gold}


def _figures(
    trials: Mapping[Cell, Sequence[bool]], rewards: Mapping[Cell, Sequence[float]], verdicts: Sequence[Verdict]
) -> list[Figure]:
    """Return the mean reward over simulations and pass^k over tasks, with errors from drawing tasks anew."""
    unread = sum(not verdict.parsed for verdict in verdicts)
    by_task = {cell: math.fsum(values) / len(values) for cell, values in rewards.items()}
    average = math.fsum(verdict.scores["reward"] for verdict in verdicts) / len(verdicts)
    found = [Figure("reward", average, len(verdicts), unread, standard_error(by_task), interval(by_task))]
    for k in range(1, min(map(len, trials.values())) + 1):
        shares = {cell: pass_power({cell: own}, k) or 0.0 for cell, own in trials.items()}
        found.append(Figure(f"pass^{k}", mean(shares), len(shares), unread, standard_error(shares), interval(shares)))
    return found


def _notes(
    results: Results,
    ran: Sequence[Simulation],
    verdicts: Sequence[Verdict],
    trials: Mapping[Cell, Sequence[bool]],
    tasks: Mapping[str, Task],
    mode: Mode,
) -> list[str]:
    notes = [f"One run: {results.who}." if results.who else "The file names neither agent nor domain (tau-bench)."]
    never = len(results.simulations) - len(ran)
    if never:
        notes.append(f"{never} simulations never ran ({NEVER_RAN}) and are left out.")
    counts = sorted({len(own) for own in trials.values()})
    if len(counts) > 1:
        notes.append(f"Tasks have {counts[0]} to {counts[-1]} trials; pass^k is told up to k = {counts[0]}.")
    kinds = Counter(verdict.category for verdict in verdicts)
    notes.append(f"Ends: {', '.join(f'{name} {count}' for name, count in kinds.most_common())}.")
    changed = [
        name
        for name, task in results.tasks.items()
        if name in tasks and task.get("evaluation_criteria") != tasks[name].get("evaluation_criteria")
    ]
    if changed:
        notes.append(f"{len(changed)} tasks have other criteria in the references than in the run: another version.")
    if mode == "official":
        return [*notes, "Rewards are as recorded."]
    if not results.tasks:
        return [*notes, "Rewards are as recorded: the file has no messages to work them out from."]
    anew = {one.id: verdict.scores["reward"] for one, verdict in zip(ran, verdicts, strict=True)}
    other = sum(one.reward is not None and abs(one.reward - anew[one.id]) > _RIGHT for one in ran)
    notes.append(
        "COMMUNICATE and ACTION are worked out from the messages; DB, ENV_ASSERTION and NL_ASSERTION are as recorded; "
        f"{other} of {len(ran)} rewards differ from the recorded ones."
    )
    return notes
