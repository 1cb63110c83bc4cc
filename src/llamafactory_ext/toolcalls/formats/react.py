r"""`Action: name\nAction Input: {...}`, mostly after `Thought: ...`.

ToolLLaMA (TL-Training, Table 6), Qwen 2 (Table 9), RoTBench, ToolEyes and ToolAlpaca write calls so. As in RoTBench's
evaluator the name is the text between the two labels; the input must be a JSON object.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llamafactory_ext.toolcalls.cursor import Cursor
from llamafactory_ext.toolcalls.json_text import dump, read_json
from llamafactory_ext.toolcalls.model import ToolCall

from .form import Format

_INPUT = "Action Input:"
_ACTION = re.compile(r"(?<!\w)Action:\s*+")


def _can_name(name: str) -> bool:
    return name == name.strip() and "\n" not in name and "\r" not in name and _INPUT not in name


def _read(cursor: Cursor, action: re.Match[str]) -> None:
    end = cursor.text.find(_INPUT, cursor.pos)
    if end < 0:
        cursor.fail(f"{_INPUT!r} is expected after an action")
    name_start, name = cursor.pos, cursor.text[cursor.pos : end].rstrip()
    if not name or not _can_name(name):
        cursor.fail("the action must be the name of one tool, on one line")
    cursor.jump(end + len(_INPUT))
    if cursor.peek() != "{":
        cursor.fail("the action's input must be a JSON object")
    arguments, _, _ = read_json(cursor)
    cursor.add(name, arguments, action.start(), (name_start, name_start + len(name)))


def _render(calls: Sequence[ToolCall]) -> str:
    return "\n".join(f"Action: {call.name}\n{_INPUT} {dump(call.arguments)}" for call in calls)


FORMAT = Format(
    name="react",
    example=f'Action: get_weather\n{_INPUT} {{"city": "Paris"}}',
    mark=_ACTION,
    read=_read,
    render=_render,
    can_name=_can_name,
)
