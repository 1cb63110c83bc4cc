"""The world of a recorded dialogue: its own calls solve it, others are told what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llamafactory_ext.tl.environments import Action
from llamafactory_ext.tl.environments.recorded import recorded
from llamafactory_ext.toolcalls import ToolCall

pytestmark = pytest.mark.fast

TOOLS = [
    {
        "name": name,
        "description": name,
        "parameters": {"type": "object", "properties": {key: {"type": "string"}}, "required": [key]},
    }
    for name, key in (("FindOwner", "code"), ("CallPerson", "name"))
]


def call(tool: str, /, **arguments: Any) -> ToolCall:
    return ToolCall(tool, arguments)


FIRST, SECOND = call("FindOwner", code="C7"), call("CallPerson", name="Velado")


def record(*turns: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"turns": [{"role": role, "content": text} for role, text in turns], "tools": json.dumps(TOOLS), **more}


def written(made: ToolCall) -> str:
    return json.dumps({"name": made.name, "arguments": dict(made.arguments)})


TASK = record(
    ("user", "Find the owner of C7, then call them."),
    ("function", written(call("FindOwner", code="C8"))),
    ("observation", '{"error": "no such code"}'),
    ("function", written(FIRST)),
    ("observation", '{"name": "Velado"}'),
    ("function", written(SECOND)),
    ("observation", '{"number": "A48"}'),
    ("assistant", "Done. The number is A48."),
)


@pytest.mark.parametrize(
    ("calls", "answer", "reward", "checks"),
    [
        ([FIRST, SECOND], "It is A48.", 1.0, (1.0, True)),
        ([SECOND, FIRST], "A48", 1.0, (1.0, True)),  # a lucky guess
        ([FIRST, SECOND], "It is A49.", 0.5, (1.0, False)),
        ([FIRST, FIRST], "A48", 0.25, (0.5, True)),
        ([call("FindOwner", code="C8")], "Done.", 0.0, (0.0, False)),
        ([], "A48", 0.0, (0.0, True)),
        ([FIRST, SECOND], "Done. The number is unknown.", 0.5, (1.0, False)),
    ],
)
def test_rewards(calls: list[ToolCall], answer: str, reward: float, checks: tuple[float, bool]) -> None:
    world = recorded()
    world.reset(TASK)
    for one in calls:
        world.step(Action("...", (one,)))
    end = world.step(Action(answer, end="answer"))
    assert (end.reward, end.checks["calls"], end.checks["answer"]) == (reward, *checks)


def test_partial_success_can_earn_nothing_and_limits_are_no_answers() -> None:
    world = recorded(partial=0)
    world.reset(TASK)
    assert list(world.step(Action("...", (FIRST, SECOND))).observation) == ['{"name": "Velado"}', '{"number": "A48"}']
    end = world.step(Action("A48", end="turns"))
    assert (end.reward, end.done, end.checks["answer"]) == (0, True, False)


@pytest.mark.parametrize(
    ("made", "part"),
    [
        (call("FindOwners", code="C7"), "no tool named FindOwners"),
        (call("FindOwner"), "missing 1 required positional argument: 'code'"),
        (call("FindOwner", code="C7", day="now"), "unexpected keyword argument 'day'"),
        (call("FindOwner", code="C8"), "no such value"),
    ],
)
def test_wrong_calls_are_told(made: ToolCall, part: str) -> None:
    world = recorded()
    world.reset(TASK)
    (told,) = world.step(Action("...", (made,))).observation
    assert part in told
    assert "cannot be read" in world.step(Action("[f(", problem="a bracket is missing")).observation


@pytest.mark.parametrize(
    "turns",
    [
        (),
        (("user", "Hello."), ("assistant", "Hello.")),
        (
            ("user", "Go."),
            ("function", written(FIRST)),
            ("observation", '{"error": "no such code"}'),
            ("assistant", "Sorry."),
        ),
    ],
)
def test_records_without_right_calls_are_unknown(turns: Any) -> None:
    with pytest.raises(LookupError):
        recorded().reset(record(*turns))


def test_tools_that_cannot_be_read_are_told_as_such() -> None:
    with pytest.raises(LookupError, match="cannot be read"):
        recorded().reset(TASK | {"tools": "[1"})
