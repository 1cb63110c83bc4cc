"""A judge's figures over a prediction file: PRC, PSN and PTV, key points, consistency, spread."""

from __future__ import annotations

import contextlib
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..checkpoint.locks import lock
from ..errors import DataError, OptionError
from ..foreign import Asking
from ..metrics.crossed import Cell, interval, mean, standard_error
from ..metrics.judge import Judge, JudgeOptions
from ..metrics.predictions import PredictionFile
from ..metrics.report import Figure, Report
from ..metrics.report import Verdict as ItemVerdict
from .cases import Source, trial_id
from .checking import APART, Acted
from .judge_prompt import CRITERIA, MODES, Mode, Prompter, prompt, template_hash
from .judge_reading import Verdict, holds_form, read_verdict
from .run import BENCHMARK
from .whole import as_run, whole_cases

SHORT = {"Procedure": "PRC", "Personalization": "PSN", "Proactivity": "PTV"}
GOOD = {"Procedure": 4, "Personalization": 4, "Proactivity": 3}
"""Least final scores of an episode that counts as good."""
RE_ASKED = 3
_LETTERS_A_TOKEN, _REPLY_TOKENS = 4, 900


@dataclass(frozen=True)
class Judged:
    """One case with what the judge said of it, once a sample.

    Attributes:
        acted: the case.
        verdicts: those that could be read.
        attempts: how often the judge was asked.
        suspicious: the dialogue holds a filled form.
    """

    acted: Acted
    verdicts: tuple[Verdict, ...]
    attempts: int
    suspicious: bool

    def final(self, criterion: str) -> float:
        """Return the mean final score over samples."""
        return statistics.fmean(verdict.finals[criterion] for verdict in self.verdicts)

    def is_good(self, least: Mapping[str, float] = GOOD) -> bool:
        """Tell whether every final score is high enough."""
        return all(self.final(name) >= score for name, score in least.items())


def judge_options() -> JudgeOptions:
    """Return the endpoint from the environment, asked as the paper asks: without sampling, with long replies."""
    return replace(JudgeOptions.from_environment(), temperature=0.0, max_tokens=8192)


def estimate(
    source: Source,
    acted: Sequence[Acted],
    samples: int,
    prices: tuple[float, float] | None,
    make: Prompter = prompt,
) -> str:
    """Return what asking would take, in a line."""
    letters = sum(len(prompt_of(source, one, make)) for one in acted)
    tokens = samples * letters // _LETTERS_A_TOKEN
    replies = samples * len(acted)
    line = f"{replies} replies, about {tokens:,} prompt tokens and {replies * _REPLY_TOKENS:,} of replies"
    if prices is None:
        return line + "; set LLAMAFACTORY_EXT_JUDGE_PRICES for the price"
    return line + f", about {(tokens * prices[0] + replies * _REPLY_TOKENS * prices[1]) / 1e6:.2f} USD"


def prompt_of(source: Source, one: Acted, make: Prompter = prompt) -> str:
    """Return the judge's prompt about a case."""
    return make(source.worlds[one.case.user], one.case, one.episode, one.prediction.messages or ())


def judge_all(
    source: Source,
    acted: Sequence[Acted],
    judge: Judge,
    mode: Mode = "strict",
    samples: int = 1,
    concurrency: int = 8,
    make: Prompter = prompt,
) -> list[Judged]:
    """Ask about every case; equal trajectories share a reply.

    Args:
        source: has the worlds.
        acted: the cases.
        judge: who is asked; its log keeps every reply.
        mode: how replies are read.
        samples: how often each case is judged.
        concurrency: requests at a time.
        make: writes the prompts.

    Raises:
        OptionError: the judge cannot be asked; what it has said is kept.
    """
    if mode not in MODES:
        raise OptionError(f"--mode {mode}: choose one of {', '.join(MODES)}.")
    with Asking(concurrency) as pool:
        running = [pool.submit(_judged, prompt_of(source, one, make), one, judge, mode, samples) for one in acted]
        return [future.result() for future in running]


def _judged(asked: str, one: Acted, judge: Judge, mode: Mode, samples: int) -> Judged:
    text, attempts = json.dumps(one.prediction.messages, ensure_ascii=False), 0
    verdicts = []
    for sample in range(samples):
        for again in range(1 + RE_ASKED):
            attempts += 1
            reply = judge.ask(asked, sample * (1 + RE_ASKED) + again)
            if (verdict := read_verdict(reply, one.case, mode)) is not None:
                verdicts.append(verdict)
                break
    return Judged(one, tuple(verdicts), attempts, holds_form(text.replace('\\"', '"')))


def report_of(
    source: Source,
    file: PredictionFile,
    judged: Sequence[Judged],
    mode: Mode,
    summary: Mapping[str, Any],
    n: int,
    words: str = "",
    least: Mapping[str, float] = GOOD,
    samples: int = 1,
) -> Report:
    """Return the judge's figures; cases without a verdict are left out, and make the report partial.

    Args:
        source: has the cases.
        file: of the predictions.
        judged: all cases.
        mode: how replies were read.
        summary: of the judge: model, tokens, cost.
        n: cases of the source.
        words: whose prompt it was; ours by default, named by its hash.
        least: final scores of an episode that counts as good, by criterion.
        samples: how often each case was judged.
    """
    read = [one for one in judged if one.verdicts]
    figures = []
    settings = {str(one.acted.episode["setting"]) for one in judged}
    suffix = f" {settings.pop()}" if len(settings) == 1 else ""
    for apart in (False, True):
        part, end = [one for one in read if bool(one.acted.case.degraded) == apart], APART if apart else ""
        for criterion, short in SHORT.items():
            cells: dict[Cell, list[float]] = {one.acted.cell: [] for one in part}
            figures += _figures(f"{short}{suffix}", end, cells, part, criterion)
        figures += [f for f in [_share(f"good{end}", part, least)] if f is not None]
    judge = {**summary, **setup(words or template_hash(), samples, least)}
    return Report(
        BENCHMARK,
        mode,
        tuple(figures),
        file.sha256,
        source.sha256,
        tuple(sorted({one.acted.prediction.model_hash for one in judged})),
        n,
        whole_cases(file.path, (one.acted.prediction.id for one in read)),
        (*as_run(source, file.path).notes, *file.notes, *_notes(judged, read, mode, words or template_hash(), least)),
        judge,
        tuple(_item(one, least) for one in judged),
    )


def setup(words: str, samples: int, least: Mapping[str, float]) -> dict[str, Any]:
    """Return what a judge's figures depend on beside its model; see `judges.judge_of`."""
    good = {SHORT[name]: float(score) for name, score in least.items()}
    return {"prompt": words, "samples": samples, "good_from": good}


def _figures(
    name: str, end: str, cells: dict[Cell, list[float]], read: Sequence[Judged], criterion: str
) -> list[Figure]:
    rates: dict[Cell, list[float]] = {}
    for one in read:
        cells[one.acted.cell].append(one.final(criterion) / 5)
        known = [rate for verdict in one.verdicts if (rate := verdict.rate(criterion)) is not None]
        if known:
            rates.setdefault(one.acted.cell, []).append(statistics.fmean(known))
    both = ((f"{name}{end}", cells), (f"{name} key points{end}", rates))
    return [
        Figure(title, mean(values), len(values), 0, standard_error(values), interval(values))
        for title, found in both
        if (values := {cell: statistics.fmean(scores) for cell, scores in found.items() if scores})
    ]


def _share(name: str, read: Sequence[Judged], least: Mapping[str, float]) -> Figure | None:
    cells: dict[Cell, list[float]] = {}
    for one in read:
        cells.setdefault(one.acted.cell, []).append(float(one.is_good(least)))
    values = {cell: statistics.fmean(scores) for cell, scores in cells.items()}
    if not values:
        return None
    return Figure(name, mean(values), len(values), 0, standard_error(values), interval(values))


def _notes(
    judged: Sequence[Judged], read: Sequence[Judged], mode: str, words: str, least: Mapping[str, float]
) -> list[str]:
    notes = [f"judge's prompt {words}, replies read {mode}; PRC, PSN and PTV in per cent of 5"]
    notes.append(f"good: {', '.join(f'{SHORT[name]} from {score:g}' for name, score in least.items())} of 5")
    if len(read) < len(judged):
        notes.append(f"{len(judged) - len(read)} cases have no verdict that could be read and are left out")
    odd = sum(len(verdict.inconsistent()) for one in read for verdict in one.verdicts)
    notes.append(f"{odd} final scores contradict their key points by more than 2 of 5")
    spread = [
        statistics.pstdev([verdict.finals[name] for verdict in one.verdicts])
        for one in read
        for name in CRITERIA
        if len(one.verdicts) > 1
    ]
    notes += [f"the judge's spread within a case is {statistics.fmean(spread):.2f} of 5"] if spread else []
    apart = sum(bool(one.acted.case.degraded) for one in read)
    notes += (
        [f'{apart} episodes are of cases whose tools lack data; their figures end with "{APART.strip()}"']
        if apart
        else []
    )
    forged = [one.acted.prediction.id for one in judged if one.suspicious]
    held = (
        f"{len(forged)} dialogues contain a filled form of the judge, such as {forged[0]}; look at them"
        if forged
        else ""
    )
    notes += [held] if held else []
    unread = sum(one.attempts - len(one.verdicts) for one in judged)
    asked = f"{unread} replies could not be read; a case is asked about up to {1 + RE_ASKED} times"
    return notes + ([asked] if unread else [])


def _item(one: Judged, least: Mapping[str, float]) -> ItemVerdict:
    end = APART if one.acted.case.degraded else ""
    scores = {f"{short}{end}": one.final(name) / 5 for name, short in SHORT.items()} if one.verdicts else {}
    detail: dict[str, Any] = {"attempts": one.attempts}
    if one.verdicts:
        first = one.verdicts[0]
        detail |= {name.lower(): one.final(name) for name in CRITERIA}
        detail["points"] = {
            "personal": list(first.points["Personalization"]),
            "proactive": list(first.points["Proactivity"]),
            "procedure": list(first.points["Procedure"]),
        }
    key = trial_id(one.acted.case.id, one.acted.trial)
    return ItemVerdict(
        key, scores, "good" if one.verdicts and one.is_good(least) else "", bool(one.verdicts), json.dumps(detail)
    )


@contextlib.contextmanager
def asking(options: JudgeOptions, log: Path) -> Iterator[Judge]:
    """Give a judge whose log nobody else writes.

    Raises:
        OptionError: another process does.
        DataError: the log cannot be written, or holds something else.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        held = log.open("ab")
    except OSError as error:
        raise DataError(f"{log} cannot be written ({error.strerror}); name another --out.") from None
    with held:
        if not lock(held):
            raise OptionError(f"another command writes {log} at this moment; wait for it, or name another --out.")
        yield Judge(options, log)
