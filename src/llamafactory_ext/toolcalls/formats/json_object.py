"""`{"name": ..., "arguments": {...}}` (TL-Training, Table 14); Llama 3.1 has "parameters" instead (Table 10).

Both are read alike. Several calls are separated by semicolons when written; a JSON list of calls and other text
between them are read as well. An object without a name or arguments is text.
"""

from __future__ import annotations

import re

from llamafactory_ext.toolcalls.call_objects import OBJECT_AHEAD, begun_call, read_call_object
from llamafactory_ext.toolcalls.cursor import Cursor
from llamafactory_ext.toolcalls.json_text import dump
from llamafactory_ext.toolcalls.model import ToolCall

from .form import LOOSE_SEPARATORS, Format, any_name


def write_object(call: ToolCall, arguments_key: str = "arguments") -> str:
    """Return one call as a JSON object on one line."""
    return dump({"name": call.name, arguments_key: call.arguments})


def _read(cursor: Cursor, opening: re.Match[str]) -> None:
    read_call_object(cursor, optional=True)
    if opening[0]:
        while cursor.take_text(","):
            if cursor.peek() != "{":
                if cursor.calls:
                    cursor.fail("another call is expected in the list")
                return
            read_call_object(cursor, optional=True)
        if not cursor.take_text("]") and cursor.calls and not cursor.peek():
            cursor.fail("a comma or the closing bracket is expected after a call")


FORMAT = Format(
    name="json",
    example='{"name": "get_weather", "arguments": {"city": "Paris"}}',
    mark=OBJECT_AHEAD,
    needs=("{",),
    read=_read,
    render=lambda calls: "; ".join(map(write_object, calls)),
    can_name=any_name,
    as_json=True,
    between=LOOSE_SEPARATORS,
    marked=False,
    meant=begun_call,
)
LLAMA3 = Format(
    name="llama3",
    example='{"name": "get_weather", "parameters": {"city": "Paris"}}',
    mark=OBJECT_AHEAD,
    needs=("{",),
    alone=False,
    read=_read,
    render=lambda calls: "; ".join(write_object(call, "parameters") for call in calls),
    can_name=any_name,
    as_json=True,
    between=LOOSE_SEPARATORS,
    marked=False,
    meant=begun_call,
)
