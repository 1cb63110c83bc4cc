"""What stands under one label of the report: a mean accuracy, its cost, and its curve over the steps."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from .internalised import Internalised, Share
from .score import Scores


@dataclass(frozen=True)
class Run:
    """What stands under one label: scores of benchmarks, and measurements of tools whose documents left the prompt."""

    label: str
    scores: tuple[Scores, ...]
    internalised: tuple[Internalised, ...] = ()

    @property
    def final(self) -> tuple[Scores, ...]:
        """The scores of the model as it ends: of no step, or of the last one, without knowledge before with it."""
        last = max((one.step for one in self.scores), default=0)
        at_end = [one for one in self.scores if one.step in (0, last)]
        bare = [one for one in at_end if not one.knowledge]
        return tuple(bare or at_end)

    @property
    def mean(self) -> float | None:
        """Unweighted mean of the strict readings, in per cent."""
        values = [100 * one.readings["strict"].value for one in self.final]
        return math.fsum(values) / len(values) if values else None

    @property
    def error(self) -> float | None:
        """Standard error of the mean, items being independent."""
        errors = [one.readings["strict"].standard_error for one in self.final]
        if not errors or None in errors:
            return None
        return 100 * math.sqrt(math.fsum(error * error for error in errors if error is not None)) / len(errors)

    @property
    def flops(self) -> float | None:
        """Mean FLOPs of an item, where every score has a cost."""
        costs = [one.cost.flops for one in self.final if one.cost is not None]
        return math.fsum(costs) / len(costs) if costs and len(costs) == len(self.final) else None


def relative(runs: Sequence[Run]) -> dict[str, float]:
    """Return FLOPs of each run that has them, relative to the first one that has."""
    costs = {run.label: run.flops for run in runs if run.flops}  # none of zero, which no model costs
    first = next(iter(costs.values()), 1.0)
    return {label: cost / first for label, cost in costs.items()}


def curves(runs: Sequence[Run]) -> dict[str, list[tuple[float, float, float | None]]]:
    """Return points (step, per cent, standard error) of each benchmark or set of tools, by what its prompts hold."""
    found: dict[str, list[tuple[float, float, float | None]]] = {}
    for run in runs:
        for one in run.scores:
            if one.step:
                name = f"{run.label}: {one.benchmark}, {'with knowledge' if one.knowledge else 'bare'}"
                reading = one.readings["strict"]
                error = None if reading.standard_error is None else 100 * reading.standard_error
                found.setdefault(name, []).append((one.step, 100 * reading.value, error))
        for name, points in pooled(run.internalised).items():
            found[f"{run.label}: {name}"] = points
    return {name: sorted(points) for name, points in found.items()}


def pooled(measured: Sequence[Internalised]) -> dict[str, list[tuple[float, float, float | None]]]:
    """Return the curve of each figure: of one run with its error over items, of several their mean and its own error.

    Args:
        measured: runs that differ in their seed.
    """
    shares: dict[str, dict[int, list[Share]]] = {}
    for row in (row for one in measured for row in one.rows):
        for name, share in row.accuracies.items():
            shares.setdefault(name, {}).setdefault(row.step, []).append(share)
    return {name: [(step, *_mean(found)) for step, found in steps.items()] for name, steps in shares.items()}


def _mean(shares: Sequence[Share]) -> tuple[float, float]:
    values = [100 * share.value for share in shares]
    if len(values) == 1:
        return values[0], 100 * shares[0].error
    return statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))
