"""The calculator: its expressions, and the rewards of its tasks."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llamafactory_ext.tl.environments import Action
from llamafactory_ext.tl.environments.calculator import calculator, numbers_in, value_of
from llamafactory_ext.toolcalls import ToolCall

pytestmark = pytest.mark.fast

RECORD = {"turns": [{"role": "user", "content": "12 + 30?"}, {"role": "assistant", "content": "It is 42."}]}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("12 + 30", 42),
        ("(1 + 2) * -3", -9),
        ("7 / 2", 3.5),
        ("0.1 + 0.2", 0.3),
        ("6 / 3", 2),
        (" +5 ", 5),
        ("2 - -2", 4),
    ],
)
def test_values(expression: str, value: float) -> None:
    assert value_of(expression) == value


@pytest.mark.parametrize(
    "expression",
    [
        *(
            "",
            "a",
            "1 +",
            "2 ** 9",
            "9 % 2",
            "__import__('os')",
            "(1).real",
            "'a' * 3",
            "True + 1",
            "1, 2",
            "1 if 1 else 2",
        ),
        *("1 / 0", "1e300 * 1e300", "9" * 30, "1" * 500, "(" * 150 + "1" + ")" * 40, "[1][0]", "1j", "nan", "5 // 2"),
    ],
)
def test_what_is_no_sum_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match=r"the (expression|result)|division by zero"):
        value_of(expression)


def test_numbers_of_a_text() -> None:
    assert numbers_in("from 1,200.5 to -3 and .5") == [1200.5, -3.0, 0.5]


@pytest.mark.parametrize(
    ("calls", "answer", "reward", "checks"),
    [
        (["12 + 30"], "The answer is 42.", 1.0, {"answer": 1, "called": 1}),
        ([], "42", 1.0, {"answer": 1, "called": 0}),
        (["12 + 30"], "41", 0.0, {"answer": 0, "called": 1}),
        (["12 +"], "no idea", 0.0, {"answer": 0, "called": 0}),
        (["1", "2"], "42.0", 1.0, {"answer": 1, "called": 1}),
    ],
)
def test_an_episode(calls: list[str], answer: str, reward: float, checks: dict[str, Any]) -> None:
    world = calculator()
    world.reset(RECORD)
    if calls:
        step = world.step(Action("...", tuple(ToolCall("calculate", {"expression": one}) for one in calls)))
        assert (step.done, step.reward, len(step.observation)) == (False, 0.0, len(calls))
    end = world.step(Action(answer, end="answer"))
    assert (end.done, end.reward, dict(end.checks)) == (True, reward, checks)


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (ToolCall("add", {"expression": "1"}), "no tool named add"),
        (ToolCall("calculate", {}), "takes one argument"),
        (ToolCall("calculate", {"expression": 1}), "takes one argument"),
        (ToolCall("calculate", {"expression": "1", "more": 1}), "takes one argument"),
        (ToolCall("calculate", {"expression": "1/0"}), "division by zero"),
    ],
)
def test_wrong_calls_are_told(call: ToolCall, part: str) -> None:
    world = calculator()
    world.reset(RECORD)
    (told,) = world.step(Action("...", (call,))).observation
    assert part in json.loads(told)["error"]
    assert "cannot be read" in world.step(Action("[f(", problem="it cannot be read")).observation


@pytest.mark.parametrize(
    "record",
    [{}, {"turns": []}, {"turns": RECORD["turns"][:1]}, {"turns": [{"role": "assistant", "content": "none"}]}],
)
def test_records_without_a_number_are_unknown(record: dict[str, Any]) -> None:
    with pytest.raises(LookupError):
        calculator().reset(record)
