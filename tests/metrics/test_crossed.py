"""Means over crossed users and instructions, reliability over trials, agreement of raters: by closed forms."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from llamafactory_ext.metrics.crossed import (
    bootstrap,
    difference,
    flip_rate,
    interval,
    mean,
    pass_power,
    quadratic_kappa,
    spearman,
    standard_error,
)

pytestmark = pytest.mark.fast
GRID = [(f"user {u}", i) for u in range(4) for i in range(12)]


def test_constant_scores_have_no_width() -> None:
    values = dict.fromkeys(GRID, 0.25)
    assert interval(values) == (0.25, 0.25)
    assert standard_error(values) == 0
    assert interval({("a", 0): 1.0}) is None


def test_users_that_differ_widen_the_interval_more_than_independent_items_would() -> None:
    by_user = {cell: float(cell[0] in ("user 0", "user 1")) for cell in GRID}
    found = standard_error(by_user)
    assert found is not None
    assert found == pytest.approx(0.25, abs=0.02)  # four users: sqrt(0.25 / 4)
    assert found > 2 * math.sqrt(0.25 / 48)


def test_the_mean_of_the_draws_is_the_mean() -> None:
    dice = random.Random(0)
    values = {cell: dice.random() for cell in GRID}
    assert np.mean(bootstrap(values)) == pytest.approx(mean(values), abs=0.01)
    assert (bootstrap(values) == bootstrap(dict(reversed(values.items())))).all()


def test_a_paired_difference_is_narrower_than_its_parts() -> None:
    dice = random.Random(1)
    one = {cell: dice.random() for cell in GRID}
    other = {cell: value + 0.1 for cell, value in one.items()}
    gap, bounds = difference(other, one)
    assert gap == pytest.approx(0.1)
    assert bounds == pytest.approx((0.1, 0.1))
    assert math.isnan(difference(one, {})[0])


def test_pass_power() -> None:
    trials = {("a", 0): [True, True, False, False], ("b", 0): [True] * 4}
    assert pass_power(trials, 1) == pytest.approx((0.5 + 1) / 2)
    assert pass_power(trials, 2) == pytest.approx((1 / 6 + 1) / 2)
    assert pass_power(trials, 3) == pytest.approx((0 + 1) / 2)
    assert pass_power(trials, 5) is None
    assert flip_rate(trials) == 0.5
    assert flip_rate({("a", 0): [True]}) is None


def test_one_trial_is_the_success_rate() -> None:
    trials = {cell: [cell[1] % 3 == 0] for cell in GRID}
    assert pass_power(trials, 1) == mean({cell: float(one[0]) for cell, one in trials.items()})


def test_raters() -> None:
    same = [(n, n) for n in range(6)]
    assert quadratic_kappa(same) == 1
    assert quadratic_kappa([(a, b) for a in range(6) for b in range(6)]) == pytest.approx(0)
    assert quadratic_kappa([(3, 3)] * 4) is None
    assert spearman([(n, 10 * n**3) for n in range(6)]) == pytest.approx(1)
    assert spearman([(n, -n) for n in range(6)]) == pytest.approx(-1)
    assert spearman([(1, 2), (1, 3)]) is None
