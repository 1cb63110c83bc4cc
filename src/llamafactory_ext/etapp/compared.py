"""Runs compared with the first: paired differences, of a judge's figures only where it was the same judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..metrics.crossed import Cell, Values, difference
from ..metrics.report import Figure, Report
from .checking import Acted, values_of
from .judges import Judgement, described
from .judging import SHORT

CHECKED = ("SR", "partial", "SR without extras")


@dataclass(frozen=True)
class Run:
    """One prediction file.

    Attributes:
        name: as the user calls it.
        acted: its cases.
        report: of the checks.
        judgements: of judges that were asked.
        notes: on how it was run, and on reports beside it that do not count.
    """

    name: str
    acted: tuple[Acted, ...]
    report: Report
    judgements: tuple[Judgement, ...] = ()
    notes: tuple[str, ...] = ()


def judges_of(runs: Sequence[Run]) -> list[Mapping[str, Any]]:
    """Return all judges, each once, in the order of their first reports."""
    found: list[Mapping[str, Any]] = []
    for run in runs:
        for one in run.judgements:
            if one.judge not in found:
                found.append(one.judge)
    return found


def judge_lines(runs: Sequence[Run]) -> list[str]:
    """Return a line for each judge: its number, who it is, and which runs it judged."""
    lines = []
    for number, judge in enumerate(judges_of(runs), start=1):
        names = [run.name for run in runs if any(one.judge == judge for one in run.judgements)]
        lines.append(f"judge {number}: {described(judge)}; it judged {', '.join(names)}")
    return lines


def figures_of(run: Run, judges: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """Return a run's figures by name; where there are several judges, the name says whose a figure is."""
    found = {figure.name: figure for figure in run.report.figures}
    for one in run.judgements:
        whose = f", judge {judges.index(one.judge) + 1}" if len(judges) > 1 else ""
        found |= {f"{figure.name}{whose}": figure for figure in one.report.figures}
    return found


def compared(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return how much each further run differs from the first, on the cases of both; what may be noise is marked."""
    rows, judges = [], judges_of(runs)
    for run in runs[1:]:
        sides = [run, runs[0]]
        found = [(name, "", [values_of(side.acted, name) for side in sides]) for name in CHECKED]
        for number, judge in enumerate(judges, start=1):
            whose = f"judge {number}" if len(judges) > 1 else ""
            found += [(name, whose, [_said(side, judge, name) for side in sides]) for name in SHORT.values()]
        for name, whose, (one, other) in found:
            gap, bounds = difference(one, other)
            if gap == gap:
                noise = bounds is None or bounds[0] <= 0 <= bounds[1]
                row = {"run": run.name, "against": runs[0].name, "figure": name, "difference": gap}
                row |= {"n": len(one.keys() & other.keys()), "interval": list(bounds or ()), "within_noise": noise}
                rows.append(row | ({"judge": whose} if whose else {}))
    return rows


def not_compared(runs: Sequence[Run]) -> list[str]:
    """Return a line for each run that has no case of the first, or whose judges' figures cannot be compared."""
    lines, judges, first = [], judges_of(runs), {one.case.id for run in runs[:1] for one in run.acted}
    for run in runs[1:]:
        if first.isdisjoint(one.case.id for one in run.acted):
            lines.append(f"{run.name} against {runs[0].name}: not compared, they have no case in common")
            continue
        sides = [[judges.index(one.judge) + 1 for one in side.judgements] for side in (run, runs[0])]
        if all(sides) and not set(sides[0]) & set(sides[1]):
            who = " and ".join(f"judge {' and '.join(map(str, side))}" for side in sides)
            names = ", ".join(SHORT.values())
            lines.append(f"{run.name} against {runs[0].name}, {names}: not compared, by {who}; let one judge both")
    return lines


def _said(run: Run, judge: Mapping[str, Any], name: str) -> Values:
    """Return a judge's score by user and instruction, in the mean over trials; empty where it was not asked."""
    found: dict[Cell, list[float]] = {}
    verdicts = next((one.verdicts for one in run.judgements if one.judge == judge), {})
    for one in run.acted:
        verdict = verdicts.get(one.prediction.id)
        if verdict is not None and name in verdict.scores:
            found.setdefault(one.cell, []).append(verdict.scores[name])
    return {cell: sum(scores) / len(scores) for cell, scores in found.items()}


def difference_line(row: Mapping[str, Any]) -> str:
    """Return a difference in words."""
    whose = f" by {row['judge']}" if row.get("judge") else ""
    text = f"{row['run']} against {row['against']}, {row['figure']}{whose}: {row['difference']:+z.1%}, n = {row['n']}"
    if not row["interval"]:
        return f"{text} (no interval for one case)"
    low, high = row["interval"]
    return f"{text} ({low:+z.1%} to {high:+z.1%}{'; within noise' if row['within_noise'] else ''})"
