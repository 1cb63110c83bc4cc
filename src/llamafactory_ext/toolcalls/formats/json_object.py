"""`{"name": ..., "arguments": {...}}` (TL-Training, Table 14); Llama 3.1 has "parameters" instead (Table 10).

Both are read alike. Several calls are separated by semicolons when written; a JSON list of calls and other text
between them are read as well. An object without a name or arguments is text.
"""

from __future__ import annotations

import re

from llamafactory_ext.toolcalls.cursor import Cursor
from llamafactory_ext.toolcalls.json_text import ARGUMENT_KEYS, dump, read_call_object
from llamafactory_ext.toolcalls.model import ToolCall

from .form import LOOSE_SEPARATORS, Declared, Format, any_name

_OBJECT_AHEAD = re.compile(r"""(?:\[\s*+)?(?=\{\s*+["'])""")
_CALL = re.compile(r"""(?:\[\s*+)?\{\s*+["'](?:name|id|type|function|arguments|parameters)["']\s*+:""")
_NAMED = re.compile(r"""["']name["']\s*+:\s*+["']([^"'\\]*+)["']""")


def write_object(call: ToolCall, arguments_key: str = "arguments") -> str:
    """One call as a JSON object on one line."""
    return dump({"name": call.name, arguments_key: call.arguments})


def begun_call(begun: str, declared: Declared) -> bool:
    """Whether a malformed object begins like a call, of a declared tool if there are any."""
    if _CALL.match(begun) is None:
        return False
    name = _NAMED.search(begun)
    if not declared:
        return name is not None and any(f'"{key}"' in begun or f"'{key}'" in begun for key in ARGUMENT_KEYS)
    return name is not None and name[1] in declared


def _read(cursor: Cursor, opening: re.Match[str]) -> None:
    read_call_object(cursor, optional=True)
    if opening[0]:
        while cursor.take_text(","):
            if cursor.peek() != "{":
                if cursor.calls:
                    cursor.fail("another call is expected in the list")
                return
            read_call_object(cursor, optional=True)
        cursor.take_text("]")


FORMAT = Format(
    name="json",
    example='{"name": "get_weather", "arguments": {"city": "Paris"}}',
    mark=_OBJECT_AHEAD,
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
    mark=_OBJECT_AHEAD,
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
