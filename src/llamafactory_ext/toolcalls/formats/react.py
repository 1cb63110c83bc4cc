r"""`Action: name\nAction Input: {...}`, mostly after `Thought: ...`.

ToolLLaMA (TL-Training, Table 6), Qwen 2 (Table 9), RoTBench, ToolEyes and ToolAlpaca write calls so. As in RoTBench's
evaluator the name is the text between the two labels. The input is a JSON object, which may stand in a fence or as
text in quotes; nothing, `None` and `null` stand for no arguments. Labels may be numbered, bold, or have a blank before
the colon, as models write them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llamafactory_ext.toolcalls.call_objects import read_arguments
from llamafactory_ext.toolcalls.cursor import Cursor
from llamafactory_ext.toolcalls.json_text import dump, read_json
from llamafactory_ext.toolcalls.model import ToolCall
from llamafactory_ext.toolcalls.values import Json

from .form import Declared, Format

_INPUT = "Action Input:"
_LABEL_END = r"(?:[ \t]*+\d++)?+[ \t]*+:\*{0,2}+"
_INPUT_LABEL = re.compile(rf"[Aa]ction [Ii]nput{_LABEL_END}")
_WRITTEN = re.compile(
    rf"[Aa]ction{_LABEL_END}[^\n]++\n\s*+\**+[Aa]ction [Ii]nput{_LABEL_END}\s*+(?:```\w*+\s*+)?[{{\"']"
)
_LONGEST_NAME = 2_000
_NOTHING = re.compile(r"[ \t]*+(?:(?i:none|null|n/a)[ \t]*+)?(?=[\r\n]|\Z)(?!\s*+[{\[\"'`])")
_AROUND = "`\"'*"  # models put these around the name
_FENCE = re.compile(r"\s*+```[a-z]*+\s*+")
_FENCE_END = re.compile(r"\s*+```")
_NAMED = re.compile(rf"[Aa]ction{_LABEL_END}[ \t]*+([^\n]*?)[ \t]*(?:\n|\Z|[Aa]ction [Ii]nput{_LABEL_END})")
_ACTION = re.compile(rf"(?<!\w)[Aa]ction{_LABEL_END}\s*+")


def _can_name(name: str) -> bool:
    return name == name.strip().strip(_AROUND) and "\n" not in name and "\r" not in name and _INPUT not in name


def _meant(begun: str, declared: Declared) -> bool:
    """Tell whether a malformed action is meant as a call: it names a declared tool alone, or an input follows."""
    if _WRITTEN.match(begun) is not None:
        return True
    if not declared:
        return _INPUT_LABEL.search(begun) is not None
    named = _NAMED.match(begun)
    return named is not None and named[1].strip(_AROUND).removesuffix("()") in declared


def _read(cursor: Cursor, action: re.Match[str]) -> None:
    label = _INPUT_LABEL.search(cursor.text, cursor.pos, cursor.pos + _LONGEST_NAME)
    if label is None:
        cursor.fail(f"{_INPUT!r} is expected after an action")
    name_start, name = cursor.pos, cursor.text[cursor.pos : label.start()].rstrip(" \t\r\n*")
    if name not in cursor.declared:
        bare = name.strip(_AROUND)
        bare = bare.removesuffix("()") if bare.removesuffix("()") in cursor.declared else bare
        name_start, name = name_start + name.find(bare), bare
    if not name or not _can_name(name):
        cursor.fail("the action must be the name of one tool, on one line")
    cursor.jump(label.end())
    arguments = _read_input(cursor)
    cursor.add(name, arguments, action.start(), (name_start, name_start + len(name)))


def _read_input(cursor: Cursor) -> dict[str, Json]:
    if cursor.take(_NOTHING) is not None:
        return {}
    fenced = cursor.take(_FENCE) is not None
    if cursor.peek() not in ("{", '"', "'"):
        cursor.fail("the action's input must be a JSON object")
    arguments = read_arguments(cursor, *read_json(cursor)[:2])
    if fenced:
        cursor.take(_FENCE_END)
    return arguments


def _render(calls: Sequence[ToolCall]) -> str:
    return "\n".join(f"Action: {call.name}\n{_INPUT} {dump(call.arguments)}" for call in calls)


FORMAT = Format(
    name="react",
    example=f'Action: get_weather\n{_INPUT} {{"city": "Paris"}}',
    mark=_ACTION,
    needs=("Action", "action"),
    meant=_meant,
    read=_read,
    render=_render,
    can_name=_can_name,
)
