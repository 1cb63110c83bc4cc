r"""`Action: ```json\n[{"tool_name": ..., "parameters": {...}}]\n````, or `<|START_ACTION|>[...]<|END_ACTION|>`.

Cohere's Command R and R+, and Command R7B and A, as in their chat templates and Cohere's guide to prompts. The
second's objects have a "tool_call_id" too. The first is written.
"""

from __future__ import annotations

import re

from ..cursor import Cursor
from ..json_text import read_object
from ..model import ToolCall
from .form import Format, any_name, speaks_of
from .parts import dump_list, read_arguments, read_inside, separators, take_end

_OPENING, _FENCE = "Action: ```json\n", "```"
_KEYS = {"tool_name", "tool_call_id"}
_START, _END = "<|START_ACTION|>", "<|END_ACTION|>"


def _read(cursor: Cursor, mark: re.Match[str]) -> None:
    if not cursor.take_text("["):
        cursor.fail("a JSON list of calls is expected after an action")
    _read_object(cursor)
    while cursor.take_text(","):
        _read_object(cursor)
    if not cursor.take_text("]"):
        cursor.fail("a comma or the closing bracket is expected after a call")
    take_end(cursor, _END if mark[0] == _START else _FENCE)


def _read_object(cursor: Cursor) -> None:
    cursor.skip_blanks()
    start = cursor.pos
    members = read_object(cursor)
    name, name_start, name_end = members.get("tool_name", (None, 0, 0))
    if not isinstance(name, str):
        cursor.fail('the object of a call needs "tool_name" (a text)', start)
    for key in members.keys() - _KEYS if "parameters" not in members else ():
        if members[key][0] not in (None, {}, ""):
            cursor.fail(f'the arguments of a call stand under "parameters", not "{key}"', members[key][1])
    arguments = read_inside(cursor, members["parameters"][1], read_arguments) if "parameters" in members else {}
    cursor.add(name, arguments, start, (name_start + 1, name_end - 1))


def _fields(call: ToolCall) -> dict[str, object]:
    return {"tool_name": call.name, "parameters": call.arguments}


FORMAT = Format(
    name="command_r",
    example=f'{_OPENING}[{{"tool_name": "get_weather", "parameters": {{"city": "Paris"}}}}]\n{_FENCE}',
    mark=re.compile(rf"(?<!\w)Action:\s*+{_FENCE}[a-z]*+(?=\s*+\[)|{re.escape(_START)}"),
    needs=("Action:", "<|START_ACTION|>"),
    meant=speaks_of("{", r"[^\[]*+\[\s*+\{"),
    read=_read,
    render=lambda calls: f"{_OPENING}{dump_list(map(_fields, calls))}\n{_FENCE}",
    can_name=any_name,
    between=separators(_FENCE, _START, _END),
    closing=_FENCE,
)
