"""Figures of matrices made by hand, and of answers."""

from __future__ import annotations

import pytest

from llamafactory_ext.cl.metrics import error_of_mean, mean_and_sd, standard_error, summarise
from llamafactory_ext.cl.scoring import score

pytestmark = pytest.mark.fast

# After task 2 the first is worse than after task 1, after task 3 better than after 2.
MATRIX = [[0.8, 0.3, 0.1], [0.4, 0.7, 0.2], [0.6, 0.5, 0.9]]


def test_the_figures_of_a_whole_matrix() -> None:
    found = summarise(MATRIX, base=[0.1, 0.2, 0.05])
    assert found.ap == pytest.approx((0.6 + 0.5 + 0.9) / 3)
    assert found.bwt == pytest.approx(((0.6 - 0.8) + (0.5 - 0.7)) / 2)
    assert found.forgetting == pytest.approx(((0.8 - 0.6) + (0.7 - 0.5)) / 2)
    assert found.plasticity == pytest.approx((0.8 + 0.7 + 0.9) / 3)
    assert found.fwt == pytest.approx(((0.3 - 0.2) + (0.2 - 0.05)) / 2)


def test_forgetting_counts_from_the_best_and_bwt_from_the_own_task() -> None:
    found = summarise([[0.5, None], [0.9, 0.4]])
    assert found.bwt == pytest.approx(0.4)
    assert found.forgetting == pytest.approx(-0.4)


def test_what_is_not_measured_is_unknown_and_never_0() -> None:
    found = summarise([[0.5, None, None], [None, 0.6, None], [0.2, 0.3, 0.4]])
    assert (found.ap, found.plasticity) == (pytest.approx(0.3), pytest.approx(0.5))
    assert (found.fwt, found.bwt) == (None, pytest.approx(-0.3))
    assert summarise([[0.5, 0.2], [None, 0.6]], base=[0.1, 0.1]).ap is None
    assert summarise([[0.5, None], [0.2, 0.6]], base=[0.1, 0.1]).fwt is None


def test_one_task_has_no_transfer() -> None:
    found = summarise([[0.5]], base=[0.2])
    assert (found.ap, found.plasticity) == (0.5, 0.5)
    assert (found.bwt, found.forgetting, found.fwt) == (None, None, None)


def test_errors() -> None:
    assert standard_error(0.5, 100) == pytest.approx(0.05)
    assert error_of_mean([0.5, 0.5], [100, 100]) == pytest.approx(0.05 / 2**0.5)
    assert mean_and_sd([0.2, 0.4]) == (pytest.approx(0.3), pytest.approx(0.02**0.5))
    assert mean_and_sd([0.2]) == (0.2, None)


@pytest.mark.parametrize(
    ("metric", "gold", "right", "wrong"),
    [
        ("exact", "World", ["world.", "  WORLD "], ["worlds", ""]),
        ("strict", "World", ["World\n"], ["world"]),
        ("answer", "1+1=2. Answer: 2", ["so: Answer: 2", "Answer: 3 Answer: 2"], ["2+2=4. Answer: 4"]),
        (
            "call",
            "API-Request: [GetWeather(city='Paris', day='today')]",
            ["API-Request: [GetWeather(day='today', city='Paris')]"],
            ["API-Request: [GetWeather(city='Rome', day='today')]", "Paris", "API-Request: [GetWeather(city="],
        ),
    ],
)
def test_metrics(metric: str, gold: str, right: list[str], wrong: list[str]) -> None:
    for text in right:
        assert score([text], [gold], metric).right == 1, text
    for text in wrong:
        assert score([text], [gold], metric).right == 0, text
