r"""`<|tool_call>call:f{k:<|"|>v<|"|>,n:3,o:{a:[true,null]}}<tool_call|>`: Gemma 4.

As in its chat template, LLaMA-Factory's `Gemma4ToolUtils` and vLLM's parser `gemma4`. Texts stand between `<|"|>` and
have no escapes: one ends at the first such mark that a comma, a closing bracket or, after a key, a colon follows.
Numbers, true, false and null are those of JSON. Keys are bare; those that hold other marks stand as texts do. Gemma's
template sorts keys; here they keep their order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..cursor import Cursor
from ..json_text import dump, read_json
from ..model import ToolCall
from ..values import MAX_DEPTH, Json
from .form import Format
from .parts import read_back, separators, take_end

_OPENING, _CLOSING, _QUOTE = "<|tool_call>", "<tool_call|>", '<|"|>'
_NAME = re.compile(r"[^\s{}<>]++")
_CALL = re.compile(rf"({_NAME.pattern})\s*+(?=\{{)")
_BARE_KEY = re.compile(r"[^\s:{}\[\],<\"][^:{}\[\],<\"]*+")
_KEY_END = re.compile(rf"{re.escape(_QUOTE)}(?=\s*+:)")
_TEXT_END = re.compile(rf"{re.escape(_QUOTE)}(?=\s*+[,\]}}])")
_SCALAR_AHEAD = re.compile(r'(?=[-0-9tfn"])')


def _read(cursor: Cursor, _: re.Match[str]) -> None:
    cursor.skip_blanks()
    call = cursor.take(_CALL)
    if call is None:
        cursor.fail("a tool's name and an opening brace are expected")
    arguments = _read_object(cursor, 0)
    cursor.add(call[1], arguments, call.start(), call.span(1))
    take_end(cursor, _CLOSING)


def _read_object(cursor: Cursor, depth: int) -> dict[str, Json]:
    cursor.take_text("{")
    members: dict[str, Json] = {}
    while cursor.peek() != "}":
        key = _read_key(cursor)
        if not cursor.take_text(":"):
            cursor.fail("a colon is expected after a key")
        if key in members:
            cursor.note_repeated(key)
        members[key] = _read_value(cursor, depth + 1)
        if not cursor.take_text(",") and cursor.peek() != "}":
            cursor.fail("a comma or '}' is expected")
    cursor.take_text("}")
    return members


def _read_key(cursor: Cursor) -> str:
    if cursor.take_text(_QUOTE):
        return _read_text(cursor, _KEY_END)
    key = cursor.take(_BARE_KEY)
    if key is None:
        cursor.fail("a key is expected")
    return key[0].rstrip()


def _read_text(cursor: Cursor, end: re.Pattern[str]) -> str:
    start = cursor.pos
    found = cursor.seek(end)
    if found is None:
        cursor.fail("this text is never closed", start)
    return cursor.text[start : found.start()]


def _read_value(cursor: Cursor, depth: int) -> Json:
    cursor.count_value()
    if depth > MAX_DEPTH:
        cursor.fail(f"values are nested more than {MAX_DEPTH} deep")
    if cursor.take_text(_QUOTE):
        return _read_text(cursor, _TEXT_END)
    if cursor.peek() == "{":
        return _read_object(cursor, depth)
    if cursor.take_text("["):
        return _read_items(cursor, depth)
    if cursor.take(_SCALAR_AHEAD) is None:
        cursor.fail(f"a value is expected: a number, true, false, null, or a text between {_QUOTE}")
    value: Json = read_json(cursor)[0]
    return value


def _read_items(cursor: Cursor, depth: int) -> list[Json]:
    items: list[Json] = []
    while cursor.peek() != "]":
        items.append(_read_value(cursor, depth + 1))
        if not cursor.take_text(",") and cursor.peek() != "]":
            cursor.fail("a comma or ']' is expected")
    cursor.take_text("]")
    return items


def _write(value: Json) -> str:
    if isinstance(value, str):
        return f"{_QUOTE}{value}{_QUOTE}"
    if isinstance(value, list):
        return f"[{','.join(map(_write, value))}]"
    if isinstance(value, dict):
        return _write_object(value)
    return dump(value)


def _write_object(members: dict[str, Json]) -> str:
    def written(key: str) -> str:
        return key if _BARE_KEY.fullmatch(key) and key == key.strip() else f"{_QUOTE}{key}{_QUOTE}"

    return f"{{{','.join(f'{written(key)}:{_write(value)}' for key, value in members.items())}}}"


def _render(calls: Sequence[ToolCall]) -> str:
    written = (f"{_OPENING}call:{call.name}{_write_object(dict(call.arguments))}{_CLOSING}" for call in calls)
    return read_back("".join(written), calls, FORMAT)


FORMAT = Format(
    name="gemma4",
    example=f"{_OPENING}call:get_weather{{city:{_QUOTE}Paris{_QUOTE}}}{_CLOSING}",
    mark=re.compile(rf"{re.escape(_OPENING)}\s*+call:"),
    needs=("<|tool_call>",),
    read=_read,
    render=_render,
    can_name=lambda name: _NAME.fullmatch(name) is not None,
    between=separators(_OPENING, _CLOSING),
    closing=_CLOSING,
)
