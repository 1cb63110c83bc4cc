"""Environments are asked side by side, for a limited time, and what they give back is read with care."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

import environments_made_here as made
from llamafactory_ext.templates.messages import RESULT_SEPARATOR
from llamafactory_ext.tl.environments import Action, Step
from llamafactory_ext.tl.environments.asking import RAISED, SHAPE, TIMEOUT, UNKNOWN, Fault, begin, run_all, step_of

pytestmark = pytest.mark.fast

STRANGE: dict[str, Any] = {
    "tuple": ("text", False, 1.0, {}),
    "none": None,
    "unknown part": {"observations": "x"},
    "done is a number": {"done": 1},
    "done is a text": Step(done="yes"),  # type: ignore[arg-type]
    "observation is bytes": Step(b"x"),  # type: ignore[arg-type]
    "observation holds a number": Step(["x", 1]),  # type: ignore[list-item]
    "observation is too long": Step("x" * 1_000_001),
    "reward is NaN": {"reward": float("nan")},
    "reward is infinite": {"reward": float("-inf")},
    "reward is a text": {"reward": "1"},
    "reward is huge": {"reward": 10**400},
    "reward is too large for float32": {"reward": 1e39},
    "reward is nothing": {"reward": None},
    "checks are a list": {"checks": ["a"]},
    "check is a text": {"checks": {"a": "yes"}},
    "check is NaN": {"checks": {"a": float("nan")}},
    "check is above 1": {"checks": {"a": 2}},
    "check without a name": {"checks": {"": 1}},
    "check named by a number": {"checks": {1: 1}},
    "very many checks": {"checks": {f"c{i}": 1 for i in range(100)}},
}


def fault(found: Any) -> Fault:
    assert isinstance(found, Fault)
    return found


@pytest.mark.parametrize("case", STRANGE)
def test_steps_of_another_shape_are_faults(case: str) -> None:
    (found,) = run_all([lambda: step_of(STRANGE[case])], 5)
    assert fault(found).kind == SHAPE
    assert fault(found).lies
    assert len(fault(found).what) < 200


def test_steps_are_read() -> None:
    assert step_of({}) == Step()
    assert step_of({"observation": ["a", "b"], "checks": {"x": True}, "reward": 2}) == Step(
        f"a{RESULT_SEPARATOR}b", False, 2.0, {"x": 1.0}
    )
    assert step_of(Step("half \ud800")).observation == "half ?"


def test_all_are_asked_side_by_side_and_in_their_order() -> None:
    barrier = threading.Barrier(8)

    def task(number: int) -> int:
        barrier.wait(20)  # passes only if all eight run at once
        return number

    assert run_all([lambda number=number: task(number) for number in range(8)], 30, 8) == list(range(8))


def test_no_more_run_at_once_than_said() -> None:
    running, most, lock = [0], [0], threading.Lock()

    def task() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.01)
        with lock:
            running[0] -= 1

    run_all([task] * 12, 30, 3)
    assert 1 <= most[0] <= 3


def test_one_that_hangs_is_left_behind() -> None:
    held = threading.Event()
    found = run_all([held.wait, lambda: "here", held.wait, lambda: "and here"], 0.2, 2)
    held.set()
    assert [fault(found[0]).kind, found[1], fault(found[2]).kind, found[3]] == [TIMEOUT, "here", TIMEOUT, "and here"]


@pytest.mark.parametrize("factory", [made.crash, made.leave])
def test_exceptions_and_exits_are_faults(factory: Any) -> None:
    (world,) = run_all([lambda: begin(factory, {"id": "a"})], 5)
    (found,) = run_all([lambda: step_of(world.step(Action("x")))], 5)
    assert fault(found).kind == RAISED
    assert ("ZeroDivisionError" in fault(found).what) == (factory is made.crash)


def test_records_that_are_unknown_and_things_that_are_no_environments() -> None:
    found = run_all(
        [lambda key=key: begin(made.picky, {"id": key}) for key in ("r-0", "r-1")]
        + [lambda: begin(object, {}), lambda: begin(made.Faulty, {})],
        5,
    )
    assert isinstance(found[0], made.Picky)
    assert [fault(one).kind for one in found[1:]] == [UNKNOWN, SHAPE, RAISED]
    assert "has no method reset" in fault(found[2]).what


def test_an_environment_that_changes_its_record_changes_it_for_no_other() -> None:
    record = {"id": "r-1", "turns": [{"role": "user", "content": "Who?"}]}
    seen: list[int] = []

    class Spoils(made.Counting):
        def reset(self, record: Any) -> None:
            seen.append(len(record["turns"][0]))
            record["turns"][0].clear()

    for _ in range(2):
        run_all([lambda: begin(Spoils, record)], 5)
    assert seen == [2, 2]
