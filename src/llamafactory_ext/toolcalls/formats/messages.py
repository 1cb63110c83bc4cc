"""Calls as a field of an assistant's message in JSON, as OpenAI's API has them and as some models write them.

`{"tool_calls": [{"name": ..., "arguments": {...}}]}`, whose items may have OpenAI's form as well:
`{"id": ..., "type": "function", "function": {"name": ..., "arguments": "{...}"}}`. Before these, OpenAI's API had
`{"function_call": {"name": ..., "arguments": "{...}"}}`. xLAM (Salesforce) writes a list of calls, which the format
`json` reads as well, or that list inside "tool_calls". Further fields are passed over.
"""

from __future__ import annotations

import re

from ..call_objects import OBJECT_AHEAD, begun_call, read_call_object, read_call_objects, refuse_misspelt
from ..cursor import Cursor
from ..json_text import dump, read_object
from ..model import ToolCall
from .form import Format, any_name
from .parts import dump_list, read_inside, read_objects

_BETWEEN = re.compile(r"[\s,;\[\]]*+")


def _read_tool_calls(cursor: Cursor) -> bool:
    members = read_object(cursor)
    value, start, _ = members.get("tool_calls", (None, 0, 0))
    if not value:
        refuse_misspelt(cursor, members, itself=False)
        return False
    if not isinstance(value, list | dict):
        cursor.fail('"tool_calls" must be a list of calls', start)
    read_inside(cursor, start, read_call_objects)
    return True


def _read_function_call(cursor: Cursor) -> None:
    members = read_object(cursor)
    value, start, _ = members.get("function_call", (None, 0, 0))
    if not value:
        refuse_misspelt(cursor, members, itself=False)
    elif isinstance(value, dict):
        read_inside(cursor, start, read_call_object)


def _read_xlam(cursor: Cursor) -> None:
    cursor.skip_blanks()
    start = cursor.pos
    if not _read_tool_calls(cursor):
        read_inside(cursor, start, lambda inner: read_call_object(inner, optional=True))


def _write_function_call(call: ToolCall) -> str:
    return dump({"function_call": {"name": call.name, "arguments": dump(call.arguments)}})


def _fields(call: ToolCall) -> dict[str, object]:
    return {"name": call.name, "arguments": call.arguments}


TOOL_CALLS = Format(
    name="tool_calls",
    example='{"tool_calls": [{"name": "get_weather", "arguments": {"city": "Paris"}}]}',
    mark=OBJECT_AHEAD,
    needs=("tool_calls",),
    read=lambda cursor, _: read_objects(cursor, _read_tool_calls),
    render=lambda calls: f'{{"tool_calls": {dump_list(map(_fields, calls))}}}',
    can_name=any_name,
    between=_BETWEEN,
    closing="]}",
    marked=False,
    meant=lambda begun, _: '"tool_calls"' in begun,
)
FUNCTION_CALL = Format(
    name="function_call",
    example=r'{"function_call": {"name": "get_weather", "arguments": "{\"city\": \"Paris\"}"}}',
    mark=OBJECT_AHEAD,
    needs=("function_call",),
    read=lambda cursor, _: read_objects(cursor, _read_function_call),
    render=lambda calls: "\n".join(map(_write_function_call, calls)),
    can_name=any_name,
    between=_BETWEEN,
    marked=False,
    meant=lambda begun, _: '"function_call"' in begun,
)
XLAM = Format(
    name="xlam",
    example='[{"name": "get_weather", "arguments": {"city": "Paris"}}]',
    mark=OBJECT_AHEAD,
    needs=("{",),
    alone=False,
    read=lambda cursor, _: read_objects(cursor, _read_xlam),
    render=lambda calls: dump_list(map(_fields, calls)),
    can_name=any_name,
    between=_BETWEEN,
    closing="]",
    marked=False,
    meant=begun_call,
)
