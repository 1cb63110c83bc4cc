"""Figures by parts of the cases: domain of the tools, user, instruction, setting, strategy, and how episodes ended."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .checking import Acted, scores_of
from .registry import ALL

KINDS: Mapping[str, Callable[[Acted], Iterable[str]]] = {
    "domain": lambda one: dict.fromkeys(
        ALL[name].domain.replace("_", " ") for name in one.case.given if name in ALL and ALL[name].domain
    ),
    "user": lambda one: (one.case.user,),
    "instruction": lambda one: (f"{one.case.number:02d}",),
    "setting": lambda one: (str(one.episode["setting"]),),
    "strategy": lambda one: (str(one.episode["strategy"]),),
    "end": lambda one: (str(one.episode["end"]),),
}
"""How a case is put into groups; a case with tools of several domains counts in each."""
SHOWN = ("SR", "partial", "valid calls", "tool recall")


def grouped(acted: Sequence[Acted]) -> list[dict[str, Any]]:
    """Return a row for each group: its kind and name, episodes, and the mean of each figure over those that have it.

    "checked" counts those with an SR: they have checks, and their tools have data.
    """
    rows: list[dict[str, Any]] = []
    scores = [scores_of(one) for one in acted]
    for kind, names_of in KINDS.items():
        groups: dict[str, list[Mapping[str, float]]] = {}
        for one, score in zip(acted, scores, strict=True):
            for name in names_of(one):
                groups.setdefault(name, []).append(score)
        for name, found in groups.items():
            row: dict[str, Any] = {"kind": kind, "group": name, "episodes": len(found)}
            row["checked"] = sum("SR" in score for score in found)
            for figure in SHOWN:
                values = [score[figure] for score in found if figure in score]
                row[figure] = math.fsum(values) / len(values) if values else None
            rows.append(row)
    return rows
