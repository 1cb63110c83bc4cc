"""How alike the rankings of components are between abilities: the Jaccard index of thirds (section 2.2, Figure 3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

from ..checkpoint.own import claim, claim_plain, own_file, own_json
from ..citi.importance_file import Importance, jaccard
from ..errors import OptionError
from .pictures import overlap_maps

GROUPS = ("high", "moderate", "low")
_SHUFFLES = 200


def thirds(scores: Mapping[str, float]) -> tuple[set[str], set[str], set[str]]:
    """Return the components of high, moderate and low importance; where three do not divide them, high gets more."""
    order = sorted(scores, key=lambda name: -scores[name])
    first = math.ceil(len(order) / 3)
    second = first + math.ceil((len(order) - first) / 2)
    return set(order[:first]), set(order[first:second]), set(order[second:])


def overlaps(tasks: Mapping[str, Mapping[str, float]], seed: int = 0) -> dict[str, Any]:
    """Return the index of every pair of tasks in every group, and that of rankings by chance.

    Args:
        tasks: scores of the same components for each task.
        seed: of the rankings by chance.
    """
    groups = {name: thirds(scores) for name, scores in tasks.items()}
    names = list(tasks)
    found: dict[str, Any] = {
        group: {one: {other: jaccard(groups[one][place], groups[other][place]) for other in names} for one in names}
        for place, group in enumerate(GROUPS)
    }
    components, rng = sorted(next(iter(tasks.values()))), Random(seed)
    by_chance = []
    for _ in range(_SHUFFLES):
        pair = [thirds({name: rng.random() for name in components}) for _ in range(2)]
        by_chance.append(fmean(jaccard(*both) for both in zip(*pair, strict=True)))
    return {"tasks": names, "components": len(components), "groups": found, "random": fmean(by_chance)}


def overlap(importance: Path, out: Path, seed: int = 0) -> dict[str, Any]:
    """Write overlap.json and overlap.png for an importance file.

    Raises:
        CheckpointError: no importance file.
        OptionError: it holds fewer than two tasks or three components.
    """
    read = Importance.load(importance)
    read.check_scores(importance)
    if len(read.tasks) < 2 or len(read.shapes) < 3:
        raise OptionError(
            f"{importance} holds {len(read.tasks)} tasks of {len(read.shapes)} components; two tasks and three "
            "components are the least that can be compared."
        )
    claim_plain(out)
    claim([out / "overlap.json", out / "overlap.png"], inputs=[importance])
    result = {"base": read.base, "score": read.score}
    result |= overlaps({name: task.scores for name, task in read.tasks.items()}, seed)
    own_json(out / "overlap.json", result)
    with own_file(out / "overlap.png") as staged, staged.open("wb") as picture:
        overlap_maps(result, picture)
    return result
