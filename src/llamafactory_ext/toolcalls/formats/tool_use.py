"""`{"type": "tool_use", "id": ..., "name": ..., "input": {...}}`: a part of a message in Anthropic's API.

It stands alone, in a list, or among the parts of a message's "content". Other objects are text.
"""

from __future__ import annotations

import re
from typing import Any

from ..call_objects import OBJECT_AHEAD
from ..cursor import Cursor
from ..json_text import read_json, read_object
from ..model import ToolCall
from ..near import near_word
from .form import Format, any_name
from .parts import dump_list, read_arguments, read_inside, read_objects

_TYPE = "tool_use"


def _read(cursor: Cursor) -> None:
    content, start, _ = _read_part(cursor).get("content", (None, 0, 0))
    if isinstance(content, list):
        read_inside(cursor, start, _read_parts)


def _read_part(cursor: Cursor) -> dict[str, tuple[Any, int, int]]:
    """Read an object, add the call that it may be, and return its members."""
    cursor.skip_blanks()
    start = cursor.pos
    members = read_object(cursor)
    if members.get("type", ("", 0, 0))[0] == _TYPE:
        name, name_start, name_end = members.get("name", (None, 0, 0))
        if not isinstance(name, str) or "input" not in members:
            cursor.fail(f'a {_TYPE} needs "name" (a text) and "input"', start)
        arguments = read_inside(cursor, members["input"][1], read_arguments)
        cursor.add(name, arguments, start, (name_start + 1, name_end - 1))
    elif isinstance(members.get("name", (None,))[0], str):
        _refuse_misspelt(cursor, members)
    return members


def _refuse_misspelt(cursor: Cursor, members: dict[str, tuple[Any, int, int]]) -> None:
    """Fail if a part with a name and an object misses its type by a slip alone."""
    for key, (value, start, _) in members.items():
        meant = isinstance(value, str) and near_word(key, ("type",)) and near_word(value, (_TYPE,))
        if meant and any(isinstance(other, dict) for other, _, _ in members.values()):
            cursor.meant = True
            cursor.fail(f'"type": "{_TYPE}" was meant', start)


def _read_parts(cursor: Cursor) -> None:
    cursor.take_text("[")
    while cursor.peek() not in ("]", ""):
        if cursor.peek() == "{":
            _read_part(cursor)
        else:
            read_json(cursor)
        cursor.take_text(",")


def _fields(call: ToolCall) -> dict[str, object]:
    return {"type": _TYPE, "name": call.name, "input": call.arguments}


FORMAT = Format(
    name="tool_use",
    example=f'[{{"type": "{_TYPE}", "name": "get_weather", "input": {{"city": "Paris"}}}}]',
    mark=OBJECT_AHEAD,
    needs=("tool_use",),
    read=lambda cursor, _: read_objects(cursor, _read),
    render=lambda calls: dump_list(map(_fields, calls)),
    can_name=any_name,
    between=re.compile(r"[\s,;\[\]]*+"),
    closing="]",
    marked=False,
    meant=lambda begun, _: f'"{_TYPE}"' in begun,
)
