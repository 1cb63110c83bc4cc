"""From a prediction to calls: BFCL's own form of a trajectory, a list of turns, each a list of steps.

A step is a text (of prompted models), or calls as `{name: arguments}` (of function-calling models), arguments as an
object or as its JSON text. A trajectory with any step of the second kind is a function-calling model's, whose texts
are no calls. Steps that the published decoders refuse are passed over, as published.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from ....errors import CallParseError, DataError
from ....toolcalls import ToolCall
from ...answers import find_any_calls
from ...report import Mode
from ..python_calls import PythonCall, Version, decode, value_of

TOOL_CALLS, PYTHON, OTHER = "tool calls", "Python calls", "calls of another format"
Call = str | dict[str, Any]
"""A text, as the published code executes it, or {"name", "arguments", "positional"}."""


class Trajectory(NamedTuple):
    """What a prediction holds: calls by turn and step, and the format in which it states them ("" without any)."""

    turns: list[list[list[Call]]]
    format: str


def stated_turns(text: str) -> list[Any] | None:
    """Return the turns of a trajectory; None where the text is no list in JSON."""
    with suppress(ValueError, RecursionError):
        found = json.loads(text)
        return found if isinstance(found, list) else None
    return None


def read(turns: Sequence[Any], mode: Mode, version: Version) -> Trajectory:
    """Return the calls of a trajectory.

    Args:
        turns: as `stated_turns` returns them; one that is no list has no steps.
        mode: official writes calls as the published decoders do; strict takes them as stated, in any format.
        version: of the decoder of texts.
    """
    stated = [turn if isinstance(turn, list) else [] for turn in turns]
    if any(isinstance(step, list | dict) for turn in stated for step in turn):
        format_name = TOOL_CALLS
        found = [[_tool_calls(step, mode) for step in turn] for turn in stated]
    else:
        format_name = PYTHON
        found = [[_text_calls(step, mode, version) for step in turn] for turn in stated]
    kept = [[step for step in turn if step] for turn in found]
    if format_name == PYTHON and mode == "strict" and not any(kept):
        format_name = OTHER
        kept = [[step for step in map(_any_calls, turn) if step] for turn in stated]
    return Trajectory(kept, format_name if any(kept) else "")


def _tool_calls(step: Any, mode: Mode) -> list[Call]:
    with suppress(ValueError, TypeError, AttributeError, RecursionError):
        stated = [pair for one in ([step] if isinstance(step, dict) else step) for pair in one.items()]
        calls = [(name, json.loads(value) if isinstance(value, str) else value) for name, value in stated]
        if mode == "strict":
            return [_stated(name, dict(arguments.items())) for name, arguments in calls]
        return [
            f"{name}({','.join(f'{key}={value!r}' for key, value in arguments.items())})" for name, arguments in calls
        ]
    return []


def _text_calls(step: Any, mode: Mode, version: Version) -> list[Call]:
    if not isinstance(step, str):
        return []
    with suppress(CallParseError, ValueError, TypeError, AttributeError, ArithmeticError, LookupError, RecursionError):
        calls = decode(step, version)
        return [_written(call) if mode == "official" else _bound(call) for call in calls]
    return []


def _any_calls(step: Any) -> list[Call]:
    if not isinstance(step, str):
        return []
    with suppress(CallParseError, DataError):
        return [as_stated(call) for call in find_any_calls(step)]
    return []


def as_stated(call: ToolCall) -> Call:
    """Return a call for the worker."""
    return _stated(call.name, dict(call.arguments))


def _stated(name: str, arguments: dict[str, Any], positional: Sequence[Any] = ()) -> dict[str, Any]:
    return {"name": name, "arguments": arguments, "positional": list(positional)}


def _bound(call: PythonCall) -> Call:
    """Return a call as stated; tuples become lists, as in JSON."""
    made = _stated(call.name, dict(call.arguments), [value_of(node) for node in call.positional])
    json.dumps(made)  # what JSON cannot hold is no argument
    return made


def _written(call: PythonCall) -> str:
    """Return the text that the published code executes: arguments by position are dropped."""
    return f"{call.name}({', '.join(f'{key}={_value(value)}' for key, value in call.arguments.items())})"


def _value(value: Any) -> str:
    """Write a value as published: an object whose members are all objects becomes a call of its first key.

    Raises:
        LookupError: an empty object; the published decoder gives the whole step up.
        AttributeError, TypeError: likewise.
    """
    if not isinstance(value, dict):
        return repr(value)
    if all(isinstance(inner, dict) for inner in value.values()):
        if not value:
            raise LookupError("an empty object")
        name = next(iter(value))
        return f"{name}({', '.join(f'{key}={_value(inner)}' for key, inner in value[name].items())})"
    return "{" + ", ".join(f"'{key}': {_value(inner)}" for key, inner in value.items()) + "}"
