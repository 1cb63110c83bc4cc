"""`{"name": ..., "arguments": {...}}` (TL-Training, Table 14); Llama 3.1 has "parameters" instead (Table 10).

Both are read alike. Several calls are separated by semicolons when written; a JSON list of calls and other text
between them are read as well. An object without a name or arguments is text.
"""

from __future__ import annotations

import re

from llamafactory_ext.toolcalls.cursor import Cursor
from llamafactory_ext.toolcalls.json_text import dump, read_call_object
from llamafactory_ext.toolcalls.model import ToolCall

from .form import Format, any_name

_OBJECT_AHEAD = re.compile(r'(?=\{\s*+")')
_BETWEEN = re.compile(r"[\s,;\[\]]*+")


def write_object(call: ToolCall, arguments_key: str = "arguments") -> str:
    """One call as a JSON object on one line."""
    return dump({"name": call.name, arguments_key: call.arguments})


def _read(cursor: Cursor, _: re.Match[str]) -> None:
    read_call_object(cursor, optional=True)


FORMAT = Format(
    name="json",
    example='{"name": "get_weather", "arguments": {"city": "Paris"}}',
    mark=_OBJECT_AHEAD,
    read=_read,
    render=lambda calls: "; ".join(map(write_object, calls)),
    can_name=any_name,
    between=_BETWEEN,
    marked=False,
)
LLAMA3 = Format(
    name="llama3",
    example='{"name": "get_weather", "parameters": {"city": "Paris"}}',
    mark=_OBJECT_AHEAD,
    read=_read,
    render=lambda calls: "; ".join(write_object(call, "parameters") for call in calls),
    can_name=any_name,
    between=_BETWEEN,
    marked=False,
)
