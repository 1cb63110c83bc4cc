"""What a matrix of scores says: R[t][i] is the score on task i after task t has been learnt. Values in, values out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Matrix = Sequence[Sequence[float | None]]


@dataclass(frozen=True)
class Summary:
    """The usual figures of a run; None where the matrix lacks what one needs.

    Attributes:
        ap: mean over tasks of the last row.
        bwt: backward transfer, mean of the last row minus the diagonal, without the last task.
        forgetting: mean of the best earlier score minus the last, without the last task.
        plasticity: mean of the diagonal.
        fwt: forward transfer, mean of the score before a task is learnt minus the base model's, without the first.
    """

    ap: float | None
    bwt: float | None
    forgetting: float | None
    plasticity: float | None
    fwt: float | None


def summarise(scores: Matrix, base: Sequence[float | None] | None = None) -> Summary:
    """Return the figures of a matrix (T rows, T columns).

    Args:
        scores: R; None where nothing was measured.
        base: scores of the base model, b.
    """
    last, tasks = len(scores) - 1, range(len(scores))
    row = scores[last]
    best = [_best([scores[t][i] for t in range(last)]) for i in tasks]
    before = [scores[i - 1][i] for i in tasks if i > 0]
    return Summary(
        ap=_mean(list(row)),
        bwt=_mean([_minus(row[i], scores[i][i]) for i in range(last)]),
        forgetting=_mean([_minus(best[i], row[i]) for i in range(last)]),
        plasticity=_mean([scores[i][i] for i in tasks]),
        fwt=None if base is None else _mean([_minus(one, base[i]) for i, one in enumerate(before, 1)]),
    )


def standard_error(score: float, n: int) -> float:
    """Return the binomial standard error of a share of n items."""
    return math.sqrt(max(score * (1 - score), 0.0) / n)


def error_of_mean(scores: Sequence[float], counts: Sequence[int]) -> float:
    """Return the standard error of the mean of independent scores."""
    return math.sqrt(sum(standard_error(*pair) ** 2 for pair in zip(scores, counts, strict=True))) / len(scores)


def mean_and_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Return mean and deviation over seeds; no deviation of a single one."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean; None if there are no values, or one of them is not known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _best(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return max(known) if known else None
