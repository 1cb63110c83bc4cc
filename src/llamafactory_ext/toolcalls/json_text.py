"""JSON objects inside a text, with the places of their members.

Models do not always write proper JSON. Where a text is none, the ways of Python and JavaScript are read too: single
quotes, `True`, `False` and `None`, keys without quotes, a comma after the last member, comments. `NaN` and infinities
are never read.
"""

from __future__ import annotations

import json
import re
import threading
from typing import Any, NoReturn

from .cursor import Cursor
from .pairs import Pairs
from .values import MAX_DEPTH, Json


class _NoConstantError(ValueError):
    """`NaN` or an infinity."""


def _no_constant(name: str) -> NoReturn:
    raise _NoConstantError(f"{name} is no JSON value")


class _Decoders(threading.local):
    """A decoder for each thread, which notes keys that an object has twice."""

    def __init__(self) -> None:
        self.pairs = Pairs()
        # Control characters inside strings are let through: models write raw line breaks.
        self.decoder = json.JSONDecoder(strict=False, parse_constant=_no_constant, object_pairs_hook=self.pairs)


_DECODERS = _Decoders()
_PART, _CUT = 4_000, 16  # characters of a long text that are decoded at once, and those in which a cut shows
Members = dict[str, tuple[Any, int, int]]
BARE_KEY = re.compile(r"([^\W\d][\w$-]*+)(?=\s*+:)")
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

    As with `json.loads`, the last of several members of one name counts; the cursor notes the name.
    """
    members: Members = {}
    if not cursor.take_text("{"):
        cursor.fail("a JSON object is expected")
    while peek(cursor) != "}":
        cursor.count_value()
        if (bare := cursor.take(BARE_KEY)) is not None:
            key = bare[1]
        elif peek(cursor) in ('"', "'"):
            key, _, _ = read_json(cursor)
        else:
            cursor.fail("a member's name in double quotes is expected")
        peek(cursor)
        if not cursor.take_text(":"):
            cursor.fail("a colon is expected after a member's name")
        peek(cursor)
        if key in members:
            cursor.note_repeated(key)
        members[key] = read_json(cursor)
        peek(cursor)
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
        value, end, repeated = decode(cursor.text, start)
    except json.JSONDecodeError as error:
        failed = start + error.pos if error.doc is not cursor.text else error.pos
        cursor.steps += failed - start
        return _read_loose(cursor, error.msg, failed), start, cursor.pos
    except RecursionError:
        cursor.fail("JSON is nested too deep")
    except ValueError as error:
        cursor.fail(f"malformed JSON: {error}")
    cursor.note_repeated(repeated)
    cursor.jump(end)
    return value, start, end


def decode(text: str, place: int) -> tuple[Any, int, str | None]:
    """Decode the JSON value at a place: the value, its end, and a key that one of its objects has twice.

    An error counts the line breaks before it, so a long text is read in parts: many errors stay cheap.

    Raises:
        ValueError: as Python's decoder; the place of an error is that in `doc`, which begins where the value does.
    """
    decoder, pairs = _DECODERS.decoder, _DECODERS.pairs
    pairs.take()
    if len(text) <= _PART:
        return *decoder.raw_decode(text, place), pairs.take()
    size = _PART
    while True:
        part = text[place : place + size]
        whole = place + size >= len(text)
        try:
            value, end = decoder.raw_decode(part)
        except json.JSONDecodeError as error:
            if whole or not (error.pos > size - _CUT or error.msg.startswith("Unterminated string")):
                raise
        else:
            if whole or end < size:
                return value, place + end, pairs.take()
        pairs.take()
        size *= 8


def _read_loose(cursor: Cursor, message: str, place: int) -> Json:
    """Read a value in Python's ways; fail as JSON does if it is none either."""
    inner = Cursor(cursor.text, pos=cursor.pos)
    value: Json = None
    problem = f"malformed JSON: {message}"
    try:
        value = _loose_value(inner, 0)
    except _NoConstantError as constant:
        problem = f"malformed JSON: {constant}"
    except ValueError:
        pass
    else:
        problem = ""
    cursor.steps += inner.steps
    cursor.note_repeated(inner.repeated)
    if problem:
        cursor.fail(problem, place)
    cursor.jump(inner.pos)
    return value


def _loose_value(cursor: Cursor, depth: int) -> Json:
    """Read a value; raise ValueError where there is none."""
    opening = peek(cursor)
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
    while peek(cursor) != "}":
        peek(cursor)
        bare = cursor.take(BARE_KEY)
        key = bare[1] if bare is not None else _loose_text(cursor)
        peek(cursor)
        if not cursor.take_text(":"):
            raise ValueError
        if key in members:
            cursor.note_repeated(key)
        members[key] = _loose_value(cursor, depth + 1)
        if peek(cursor) != "}" and not cursor.take_text(","):
            raise ValueError
    cursor.take_text("}")
    return members


def _loose_list(cursor: Cursor, depth: int) -> list[Json]:
    cursor.take_text("[")
    items: list[Json] = []
    while peek(cursor) != "]":
        items.append(_loose_value(cursor, depth + 1))
        if peek(cursor) != "]" and not cursor.take_text(","):
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
    value = _DECODERS.decoder.decode(f'"{body}"')
    assert isinstance(value, str)
    return value


def _in_double_quotes(match: re.Match[str]) -> str:
    return {'"': '\\"', "\\'": "'"}.get(match[0], match[0])


def peek(cursor: Cursor) -> str:
    """Skip white space and comments; the next character, or "" at the end."""
    cursor.take(_COMMENT)
    return cursor.text[cursor.pos : cursor.pos + 1]


def dump(value: object) -> str:
    """Return JSON on one line, with characters outside ASCII as they are."""
    return json.dumps(value, ensure_ascii=False)
