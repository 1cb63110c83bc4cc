r"""JSON with name and arguments after a mark of the model's own, as in the chat templates and vLLM's parsers.

Granite 3 (`granite`): `<|tool_call|>[{...}, ...]`, from 3.2 on `<tool_call>[{...}]`. Phi-4-mini (`phi4_mini_json`):
`functools[{...}, ...]` or `<|tool_call|>[{...}]<|/tool_call|>`. InternLM 2 and 2.5 (`internlm`), one object:
`<|action_start|><|plugin|>\n{"name": ..., "parameters": {...}}<|action_end|>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..call_objects import read_call_object
from ..cursor import Cursor
from ..model import ToolCall
from .form import Format, any_name, speaks_of
from .json_object import write_object
from .parts import read_call_list, separators, take_end

_TOKEN, _TAG, _FUNCTOOLS = "<|tool_call|>", "<tool_call>", "functools"
_ENDS = re.compile(r"\s*+(?:</tool_call>|<\|/tool_call\|>)")
_ACTION, _ACTION_END = "<|action_start|><|plugin|>", "<|action_end|>"


def _read_list(cursor: Cursor, _: re.Match[str]) -> None:
    read_call_list(cursor)
    cursor.take(_ENDS)


def _read_action(cursor: Cursor, _: re.Match[str]) -> None:
    read_call_object(cursor)
    take_end(cursor, _ACTION_END)


def _write_list(calls: Iterable[ToolCall]) -> str:
    return f"[{', '.join(map(write_object, calls))}]"


def _write_actions(calls: Sequence[ToolCall]) -> str:
    return "".join(f"{_ACTION}\n{write_object(call, 'parameters')}{_ACTION_END}" for call in calls)


GRANITE = Format(
    name="granite",
    example=f'{_TOKEN}[{{"name": "get_weather", "arguments": {{"city": "Paris"}}}}]',
    mark=re.compile(rf"(?:{re.escape(_TOKEN)}|{_TAG})(?=\s*+\[)"),
    needs=("<|tool_call|>", "<tool_call>"),
    read=_read_list,
    render=lambda calls: _TOKEN + _write_list(calls),
    can_name=any_name,
    between=separators(_TOKEN, _TAG),
    closing="]",
)
PHI4 = Format(
    name="phi4",
    example=f'{_FUNCTOOLS}[{{"name": "get_weather", "arguments": {{"city": "Paris"}}}}]',
    mark=re.compile(rf"(?:{re.escape(_TOKEN)}|(?<!\w){_FUNCTOOLS})(?=\s*+\[)"),
    needs=("<|tool_call|>", "functools"),
    meant=speaks_of("{", r"[^\[]*+\[\s*+\{"),
    read=_read_list,
    render=lambda calls: _FUNCTOOLS + _write_list(calls),
    can_name=any_name,
    closing="]",
)
INTERNLM2 = Format(
    name="internlm2",
    example=f'{_ACTION}\n{{"name": "get_weather", "parameters": {{"city": "Paris"}}}}{_ACTION_END}',
    mark=re.compile(r"<\|action_start\|>\s*+<\|plugin\|>"),
    needs=("<|action_start|>",),
    read=_read_action,
    render=_write_actions,
    can_name=any_name,
    between=separators(_ACTION, _ACTION_END),
    closing=_ACTION_END,
)
