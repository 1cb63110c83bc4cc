"""The shares of the steps: 1 first, 0 last, never rising."""

from __future__ import annotations

import itertools

import pytest

from llamafactory_ext.errors import OptionError
from llamafactory_ext.skintern.schedule import PATTERNS, schedule, shots

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("pattern", "shares"),
    [
        ("linear", (1, 2 / 3, 1 / 3, 0)),
        ("exp", (1, 0.335, 0.090, 0)),
        ("inverse_exp", (1, 0.910, 0.665, 0)),
        ("step", (1, 1, 0.5, 0)),
        ("1,0.5,0.5,0", (1, 0.5, 0.5, 0)),
        ([1, 0.25, 0.1, 0], (1, 0.25, 0.1, 0)),
    ],
)
def test_four_steps(pattern: str, shares: tuple[float, ...]) -> None:
    assert schedule(4, pattern) == pytest.approx(shares, abs=5e-4)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("steps", [*range(2, 12), 100])
@pytest.mark.parametrize("decay", [0.01, 3.0, 50.0])
def test_it_falls_from_one_to_zero_exactly(pattern: str, steps: int, decay: float) -> None:
    shares = schedule(steps, pattern, decay)
    assert len(shares) == steps
    assert (shares[0], shares[-1]) == (1.0, 0.0)
    assert all(1 >= earlier >= later >= 0 for earlier, later in itertools.pairwise(shares))


@pytest.mark.parametrize(("steps", "sixths"), [(3, (0, 3, 6)), (4, (0, 2, 4, 6)), (7, tuple(range(7)))])
def test_the_papers_steps_in_sixths_keep_the_papers_shots(steps: int, sixths: tuple[int, ...]) -> None:
    assert [shots(share, 6) for share in schedule(steps, "linear")] == [6 - sixth for sixth in sixths]


def test_floating_point_takes_no_example_away() -> None:
    for steps in range(2, 60):
        for t, share in enumerate(schedule(steps, "linear")):
            assert shots(share, steps - 1) == steps - 1 - t


@pytest.mark.parametrize(
    ("steps", "pattern", "decay", "named"),
    [
        (1, "linear", 3.0, "skintern_steps"),
        (True, "linear", 3.0, "skintern_steps"),
        (2.5, "linear", 3.0, "skintern_steps"),
        (4, "exp", 0.0, "skintern_decay"),
        (4, "exp", float("nan"), "skintern_decay"),
        (4, "exp", "x", "skintern_decay"),
        (4, "cubic", 3.0, "skintern_pattern"),
        (3, "1,0.5", 3.0, "2 shares for 3 steps"),
        (3, "1,0.5,0.6", 3.0, "may not rise"),
        (3, "0.9,0.5,0", 3.0, "first share is 1"),
        (3, "1,0.5,0.1", 3.0, "the last 0"),
        (3, "1,nan,0", 3.0, "outside of 0 to 1"),
        (3, [1, None, 0], 3.0, "skintern_pattern"),
        (3, 7, 3.0, "skintern_pattern"),
        (3, "", 3.0, "skintern_pattern"),
    ],
)
def test_what_cannot_be_is_named(steps: int, pattern: str, decay: float, named: str) -> None:
    with pytest.raises(OptionError, match=named):
        schedule(steps, pattern, decay)
