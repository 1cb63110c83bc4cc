"""Variables that a launcher reads: numbers in their range pass, anything else is named."""

from __future__ import annotations

import pytest

from llamafactory_ext.options.environment import environment_problems

pytestmark = pytest.mark.fast
LAUNCHED = ("NPROC_PER_NODE", "NNODES", "NODE_RANK", "MASTER_PORT", "MAX_RESTARTS", "MIN_NNODES", "MAX_NNODES")
RUNNING = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
ODD = ("", " ", "abc", "1.5", "-2", "1e3", "\u0663", "1,2", "9" * 30)


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize("name", [*LAUNCHED, *RUNNING])
def test_odd_values_are_named(name: str, value: str) -> None:
    (problem,) = environment_problems({name: value}, launches=name in LAUNCHED)
    assert problem.startswith(f"{name}={value} is no whole number from ")
    assert "; " in problem


def test_what_is_right_or_not_read_passes() -> None:
    right = dict.fromkeys(LAUNCHED, "1") | {"NNODES": "2", "MASTER_PORT": "29500"}
    assert environment_problems(right, launches=True) == []
    for processes in ("auto", "cpu", "gpu", "8"):
        assert environment_problems({"NPROC_PER_NODE": processes}, launches=True) == []
    assert environment_problems(dict.fromkeys(RUNNING, "1"), launches=False) == []
    assert environment_problems(dict.fromkeys(LAUNCHED, "x"), launches=False) == []
    assert environment_problems(dict.fromkeys(RUNNING, "x"), launches=True) == []
    assert environment_problems({}, launches=True) == environment_problems({}, launches=False) == []


def test_a_rank_beyond_the_nodes() -> None:
    (problem,) = environment_problems({"NNODES": "2", "NODE_RANK": "2"}, launches=True)
    assert "number the nodes from 0 to 1" in problem
    assert environment_problems({"NNODES": "2", "NODE_RANK": "2", "RDZV_ID": "a"}, launches=True) == []
