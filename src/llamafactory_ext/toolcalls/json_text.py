"""JSON objects inside a text, with the places of their members."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from .cursor import Cursor
from .values import Json

ARGUMENT_KEYS = ("arguments", "parameters")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


# Control characters inside strings are let through: models write raw line breaks.
_DECODER = json.JSONDecoder(strict=False, parse_constant=_no_constant)
Members = dict[str, tuple[Any, int, int]]


def read_object(cursor: Cursor) -> Members:
    """Read the JSON object that must stand here: value, start and end of each member.

    As with `json.loads`, the last of several members of one name counts.
    """
    members: Members = {}
    if not cursor.take_text("{"):
        cursor.fail("a JSON object is expected")
    while cursor.peek() != "}":
        cursor.count_value()
        if cursor.peek() != '"':
            cursor.fail("a member's name in double quotes is expected")
        key, _, _ = read_json(cursor)
        if not cursor.take_text(":"):
            cursor.fail("a colon is expected after a member's name")
        members[key] = read_json(cursor)
        if not cursor.take_text(","):
            break
        if cursor.peek() == "}":
            cursor.fail("another member is expected after the comma")
    if not cursor.take_text("}"):
        cursor.fail("a comma or '}' is expected")
    return members


def read_json(cursor: Cursor) -> tuple[Any, int, int]:
    """Read the JSON value that must stand here: the value, its start and its end."""
    cursor.skip_blanks()
    start = cursor.pos
    try:
        value, end = _DECODER.raw_decode(cursor.text, start)
    except json.JSONDecodeError as error:
        cursor.fail(f"malformed JSON: {error.msg}", error.pos)
    except RecursionError:
        cursor.fail("JSON is nested too deep")
    except ValueError as error:
        cursor.fail(f"malformed JSON: {error}")
    cursor.jump(end)
    return value, start, end


def read_call_object(cursor: Cursor, *, optional: bool = False) -> bool:
    """Read the object of one call and add it to the cursor's calls.

    `{"name": ..., "arguments": ...}` or `"parameters"`, also inside `{"type": "function", "function": {...}}`;
    arguments may be an object or, as in OpenAI's messages, its JSON text. Other members, such as an "id", are passed
    over.

    Args:
        cursor: stands at the object.
        optional: whether an object that lacks a name or arguments is passed over instead of refused.

    Returns:
        Whether the object was a call.
    """
    cursor.skip_blanks()
    start = cursor.pos
    members = read_object(cursor)
    if isinstance(members.get("function", ("",))[0], dict):
        inner = Cursor(cursor.text)
        inner.pos = members["function"][1]
        members = read_object(inner)
        cursor.steps += inner.steps
    arguments = next((members[key] for key in ARGUMENT_KEYS if key in members), None)
    name, name_start, name_end = members.get("name", (None, 0, 0))
    if not isinstance(name, str) or arguments is None:
        if optional:
            return False
        cursor.fail('the object of a call needs "name" (a text) and "arguments" or "parameters"', start)
    cursor.add(name, _arguments(cursor, *arguments), start, (name_start + 1, name_end - 1))
    return True


def _arguments(cursor: Cursor, value: Any, start: int, _end: int) -> dict[str, Json]:
    if isinstance(value, str):
        try:
            value = _DECODER.decode(value)
        except (ValueError, RecursionError):
            cursor.fail("the arguments are a text that is no JSON", start)
    if not isinstance(value, dict):
        cursor.fail("the arguments are no JSON object", start)
    return value


def dump(value: object) -> str:
    """JSON on one line, with characters outside ASCII as they are."""
    return json.dumps(value, ensure_ascii=False)
