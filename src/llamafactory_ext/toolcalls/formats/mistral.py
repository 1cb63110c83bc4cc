"""`[TOOL_CALLS] [{"name": ..., "arguments": {...}}, ...]`: Mistral v0.3 and later."""

from __future__ import annotations

import re

from llamafactory_ext.toolcalls.call_objects import read_call_objects
from llamafactory_ext.toolcalls.cursor import Cursor

from .form import Format, any_name, speaks_of
from .json_object import write_object

_MARKER = "[TOOL_CALLS]"
_LIST = re.compile(rf"{re.escape(_MARKER)}(?=\s*+(?:[\[{{]|\Z))")


def _read(cursor: Cursor, _: re.Match[str]) -> None:
    if cursor.peek() != "[":
        cursor.fail(f"a JSON list of calls is expected after {_MARKER}")
    read_call_objects(cursor)


FORMAT = Format(
    name="mistral",
    example=f'{_MARKER} [{{"name": "get_weather", "arguments": {{"city": "Paris"}}}}]',
    mark=_LIST,
    needs=("[TOOL_CALLS]",),
    meant=speaks_of("{", r"\[TOOL_CALLS\]\s*+(?:\[\s*+)?(?:\{|\Z)"),
    read=_read,
    render=lambda calls: f"{_MARKER} [{', '.join(map(write_object, calls))}]",
    can_name=any_name,
    as_json=True,
    closing="]",
)
