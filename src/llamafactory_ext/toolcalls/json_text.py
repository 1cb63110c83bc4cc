"""JSON objects inside a text, with the places of their members.

Models do not always write proper JSON. Where a text is none, Python's ways are read too: single quotes, `True`,
`False` and `None`, a comma after the last member, comments. `NaN` and infinities are never read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from ..errors import CallParseError
from .cursor import Cursor
from .values import MAX_DEPTH, Json

ARGUMENT_KEYS = ("arguments", "parameters")
_OTHER_KEYS = (
    "args",
    "kwargs",
    "input",
    "params",
    "parameter",
    "argument",
    "action_input",
    "tool_input",
    "arguments_json",
)
_MOST_CODINGS = 3  # how often arguments may be written as JSON text within JSON text


class _NoConstantError(ValueError):
    """`NaN` or an infinity."""


def _no_constant(name: str) -> NoReturn:
    raise _NoConstantError(f"{name} is no JSON value")


# Control characters inside strings are let through: models write raw line breaks.
_DECODER = json.JSONDecoder(strict=False, parse_constant=_no_constant)
Members = dict[str, tuple[Any, int, int]]
_PLAIN_CALL = re.compile(r'\{\s*+"name"\s*+:\s*+"([^"\\]++)"\s*+,')
_COMMENT = re.compile(r"(?:/\*[^*]*+(?:\*(?!/)[^*]*+)*+\*/|//[^\n]*+|\s++)*+")
_WORD = re.compile(r"[A-Za-z]++")
_WORDS: dict[str, Json] = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_NUMBER = re.compile(r"-?[0-9]++(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?")
_DOUBLE = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
# A quote closes a text where a delimiter follows; one within words is an apostrophe.
_SINGLE = re.compile(r"'[^'\\]*+(?:(?:\\.|'(?!\s*+(?:[,:}\])]|\Z)))[^'\\]*+)*+'", re.DOTALL)
_ESCAPED_APOSTROPHE = re.compile(r"\\.|\"", re.DOTALL)


def read_object(cursor: Cursor) -> Members:
    """Read the JSON object that must stand here: value, start and end of each member.

    As with `json.loads`, the last of several members of one name counts.
    """
    members: Members = {}
    if not cursor.take_text("{"):
        cursor.fail("a JSON object is expected")
    while _peek(cursor) != "}":
        cursor.count_value()
        if _peek(cursor) not in ('"', "'"):
            cursor.fail("a member's name in double quotes is expected")
        key, _, _ = read_json(cursor)
        _peek(cursor)
        if not cursor.take_text(":"):
            cursor.fail("a colon is expected after a member's name")
        _peek(cursor)
        members[key] = read_json(cursor)
        _peek(cursor)
        if not cursor.take_text(","):
            break
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
        return _read_loose(cursor, error), start, cursor.pos
    except RecursionError:
        cursor.fail("JSON is nested too deep")
    except ValueError as error:
        cursor.fail(f"malformed JSON: {error}")
    cursor.jump(end)
    return value, start, end


def _read_loose(cursor: Cursor, error: json.JSONDecodeError) -> Json:
    """Read a value in Python's ways; fail as JSON does if it is none either."""
    inner = Cursor(cursor.text, pos=cursor.pos)
    value: Json = None
    problem = f"malformed JSON: {error.msg}"
    try:
        value = _loose_value(inner, 0)
    except _NoConstantError as constant:
        problem = f"malformed JSON: {constant}"
    except ValueError:
        pass
    else:
        problem = ""
    cursor.steps += inner.steps
    if problem:
        cursor.fail(problem, error.pos)
    cursor.jump(inner.pos)
    return value


def _loose_value(cursor: Cursor, depth: int) -> Json:
    """Read a value; raise ValueError where there is none."""
    opening = _peek(cursor)
    if depth > MAX_DEPTH:
        raise ValueError
    if opening == "{":
        return _loose_object(cursor, depth)
    if opening == "[":
        return _loose_list(cursor, depth)
    if opening in ('"', "'"):
        return _loose_text(cursor)
    if (number := cursor.take(_NUMBER)) is not None:
        value: Json = json.loads(number[0])
        return value
    word = cursor.take(_WORD)
    if word is not None and word[0] in _WORDS:
        return _WORDS[word[0]]
    if word is not None and word[0] in ("NaN", "nan", "Infinity", "inf"):
        _no_constant(word[0])
    raise ValueError


def _loose_object(cursor: Cursor, depth: int) -> dict[str, Json]:
    cursor.take_text("{")
    members: dict[str, Json] = {}
    while _peek(cursor) != "}":
        if _peek(cursor) not in ('"', "'"):
            raise ValueError
        key = _loose_text(cursor)
        _peek(cursor)
        if not cursor.take_text(":"):
            raise ValueError
        members[key] = _loose_value(cursor, depth + 1)
        if _peek(cursor) != "}" and not cursor.take_text(","):
            raise ValueError
    cursor.take_text("}")
    return members


def _loose_list(cursor: Cursor, depth: int) -> list[Json]:
    cursor.take_text("[")
    items: list[Json] = []
    while _peek(cursor) != "]":
        items.append(_loose_value(cursor, depth + 1))
        if _peek(cursor) != "]" and not cursor.take_text(","):
            raise ValueError
    cursor.take_text("]")
    return items


def _loose_text(cursor: Cursor) -> str:
    found = cursor.take(_DOUBLE) or cursor.take(_SINGLE)
    if found is None:
        raise ValueError
    body = found[0][1:-1]
    if found[0][0] == "'":
        body = _ESCAPED_APOSTROPHE.sub(_in_double_quotes, body)
    value = _DECODER.decode(f'"{body}"')
    assert isinstance(value, str)
    return value


def _in_double_quotes(match: re.Match[str]) -> str:
    return {'"': '\\"', "\\'": "'"}.get(match[0], match[0])


def _peek(cursor: Cursor) -> str:
    """Skip white space and comments; the next character, or "" at the end."""
    cursor.take(_COMMENT)
    return cursor.text[cursor.pos : cursor.pos + 1]


def read_call_objects(cursor: Cursor) -> None:
    """Read the object of one call, or a list of them, and add all to the cursor's calls."""
    if not cursor.take_text("["):
        read_call_object(cursor)
        return
    read_call_object(cursor)
    while cursor.take_text(","):
        read_call_object(cursor)
    if not cursor.take_text("]"):
        cursor.fail("a comma or the closing bracket is expected after a call")


def read_call_object(cursor: Cursor, *, optional: bool = False) -> bool:
    """Read the object of one call and add it to the cursor's calls.

    `{"name": ..., "arguments": ...}` or `"parameters"`, also inside `{"type": "function", "function": {...}}`;
    arguments may be an object or, as in OpenAI's messages, its JSON text. Nothing, null and an empty text stand for no
    arguments. Other members, such as an "id", are passed over.

    Args:
        cursor: stands at the object.
        optional: whether an object that lacks a name or arguments is passed over instead of refused. Without
            arguments it is a call then if its name is a declared tool's, or if it holds nothing but a name.

    Returns:
        Whether the object was a call.
    """
    cursor.skip_blanks()
    start = cursor.pos
    if _read_plain_call(cursor):
        return True
    members = read_object(cursor)
    if isinstance(members.get("function", ("",))[0], dict):
        inner = Cursor(cursor.text, pos=members["function"][1])
        members = read_object(inner)
        cursor.steps += inner.steps
    arguments = next((members[key] for key in ARGUMENT_KEYS if key in members), None)
    name, name_start, name_end = members.get("name", (None, 0, 0))
    if arguments is not None and _is_definition(members, arguments[0]):
        arguments = None
        if optional:
            return False
    named = isinstance(name, str)
    if optional and not (named and (arguments is not None or _is_bare(cursor, name, members))):
        return False
    if not named:
        cursor.fail('the object of a call needs "name" (a text) and "arguments" or "parameters"', start)
    given = {} if arguments is None else read_arguments(cursor, *arguments[:2])
    cursor.add(name, given, start, (name_start + 1, name_end - 1))
    return True


def _read_plain_call(cursor: Cursor) -> bool:
    """Read a call that begins with its name, has an object of arguments and is proper JSON, as most do."""
    opening = _PLAIN_CALL.match(cursor.text, cursor.pos)
    if opening is None:
        return False
    try:
        value, end = _DECODER.raw_decode(cursor.text, cursor.pos)
    except (ValueError, RecursionError):
        return False
    arguments = next((value[key] for key in ARGUMENT_KEYS if key in value), None)
    if value["name"] != opening[1] or not isinstance(arguments, dict) or "function" in value:
        return False
    if _is_definition(value, arguments):
        return False
    start = cursor.pos
    cursor.jump(end)
    cursor.add(opening[1], arguments, start, opening.span(1))
    return True


def _is_bare(cursor: Cursor, name: str, members: Members) -> bool:
    """Whether an object without arguments is a call; it fails if a declared tool's stand under another name."""
    if members.keys() <= {"name", "id", "type"}:
        return not cursor.declared or name in cursor.declared
    other = next((key for key in members if key in _OTHER_KEYS), None)
    if name in cursor.declared and other is not None:
        cursor.fail(
            f'the arguments of a call stand under "arguments" or "parameters", not "{other}"', members[other][1]
        )
    return False


def _is_definition(members: Mapping[str, Any], arguments: Any) -> bool:
    """Whether an object describes a tool: its parameters are a JSON Schema."""
    return (
        "arguments" not in members
        and isinstance(arguments, dict)
        and arguments.get("type") == "object"
        and isinstance(arguments.get("properties"), dict)
    )


def read_arguments(cursor: Cursor, value: Any, start: int) -> dict[str, Json]:
    """Return a call's arguments, of which `value` is an object, its JSON text, nothing, or null."""
    for _ in range(_MOST_CODINGS):
        if not isinstance(value, str):
            break
        if not value.strip():
            return {}
        inner = Cursor(value.strip())
        try:
            value, _, end = read_json(inner)
        except CallParseError:
            cursor.fail("the arguments are a text that is no JSON", start)
        if end < len(inner.text):
            cursor.fail("the arguments are a text that is no JSON", start)
    if value is None:
        return {}
    if not isinstance(value, dict):
        cursor.fail("the arguments are no JSON object", start)
    return value


def dump(value: object) -> str:
    """JSON on one line, with characters outside ASCII as they are."""
    return json.dumps(value, ensure_ascii=False)
