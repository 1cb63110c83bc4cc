"""Means over cases, with intervals that know that users and instructions are crossed.

800 cases of 16 users and 50 instructions are no 800 independent items: whoever likes jazz likes it in every case. So
users and instructions are drawn anew, each with replacement and independently (crossed bootstrap), and two runs are
compared on the same draws.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

DRAWS, SEED = 2000, 0
Cell = tuple[str, int]
"""(user, number of the instruction)."""
Values = Mapping[Cell, float]


def mean(values: Values) -> float:
    """Return the mean over cases."""
    return math.fsum(values.values()) / len(values)


@lru_cache(maxsize=8)
def _counts(users: int, instructions: int, draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each user and each instruction is drawn, one row a draw."""
    dice = np.random.default_rng(seed)
    drawn_users = dice.multinomial(users, [1 / users] * users, size=draws)
    drawn_instructions = dice.multinomial(instructions, [1 / instructions] * instructions, size=draws)
    return drawn_users.astype(float), drawn_instructions.astype(float)


def bootstrap(values: Values, cells: Sequence[Cell] = (), draws: int = DRAWS, seed: int = SEED) -> np.ndarray:
    """Return the mean in each draw; NaN in a draw that has none of the cases.

    Args:
        values: by user and instruction.
        cells: that span users and instructions; default: those of the values. Two runs on the same cells are drawn
            in the same way.
        draws: how many.
        seed: of the draws.
    """
    named = list(cells) or list(values)
    users = {user: place for place, user in enumerate(sorted({user for user, _ in named}))}
    numbers = {number: place for place, number in enumerate(sorted({number for _, number in named}))}
    total = np.zeros((len(users), len(numbers)))
    there = np.zeros_like(total)
    for (user, number), value in values.items():
        total[users[user], numbers[number]], there[users[user], numbers[number]] = value, 1.0
    by_user, by_number = _counts(len(users), len(numbers), draws, seed)
    summed = ((by_user @ total) * by_number).sum(1)
    weight = ((by_user @ there) * by_number).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(weight > 0, summed / weight, np.nan)


def interval(values: Values, cells: Sequence[Cell] = ()) -> tuple[float, float] | None:
    """Return where the mean lies with 95 %; None for a single case."""
    if len(values) < 2:
        return None
    return _percentiles(bootstrap(values, cells))


def standard_error(values: Values) -> float | None:
    """Return the mean's standard deviation over the draws; None for a single case."""
    return float(np.nanstd(bootstrap(values))) if len(values) > 1 else None


def difference(one: Values, other: Values) -> tuple[float, tuple[float, float] | None]:
    """Return how much higher the first is on the cases of both, with its 95 % interval on the same draws."""
    both = sorted(one.keys() & other.keys())
    if not both:
        return math.nan, None
    paired = {cell: one[cell] - other[cell] for cell in both}
    return mean(paired), interval(paired)


def _percentiles(drawn: np.ndarray) -> tuple[float, float]:
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def pass_power(successes: Mapping[Cell, Sequence[bool]], k: int) -> float | None:
    """Return pass^k: how likely k trials of a case all succeed, in the mean over cases (tau-bench's definition).

    Args:
        successes: of all trials, by case.
        k: trials that must all succeed.

    Returns:
        None where a case has fewer trials.
    """
    if not successes or any(len(trials) < k for trials in successes.values()):
        return None
    shares = [math.comb(sum(trials), k) / math.comb(len(trials), k) for trials in successes.values()]
    return math.fsum(shares) / len(shares)


def flip_rate(successes: Mapping[Cell, Sequence[bool]]) -> float | None:
    """Return the share of cases whose trials differ; None where there is one trial alone."""
    several = [trials for trials in successes.values() if len(trials) > 1]
    return sum(len(set(trials)) > 1 for trials in several) / len(several) if several else None


def quadratic_kappa(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return the agreement of two raters beyond chance, with squared distances; None where both never differ.

    Chance is the mean over all pairs of a score of one and a score of the other, so that scores may be means.
    """
    if not pairs:
        return None
    one, other = np.array(pairs, dtype=float).T
    chance = float(one.var() + other.var() + (one.mean() - other.mean()) ** 2)
    return 1 - float(((one - other) ** 2).mean()) / chance if chance else None


def spearman(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return the correlation of ranks, equal values sharing theirs; None for constant ones."""
    if len(pairs) < 2:
        return None
    one, other = (np.array(_ranks([pair[side] for pair in pairs])) for side in (0, 1))
    spread = float(one.std() * other.std())
    return float(((one - one.mean()) * (other - other.mean())).mean()) / spread if spread else None


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(values)
    return [(2 * order.index(value) + order.count(value) - 1) / 2 for value in values]
