"""`<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{...}<|tool_call_end|>`: Kimi-K2.

As in its chat template, its guide to tool calls and vLLM's parser `kimi_k2`. All calls of a turn stand between
`<|tool_calls_section_begin|>` and `<|tool_calls_section_end|>`. The number counts the calls of the dialogue, from 0;
the first turn's is written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..cursor import Cursor
from ..json_text import dump
from ..model import ToolCall
from .form import Format
from .parts import read_named, refuse_prefix, separators, take_end

_ALL, _ALL_END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
_ONE, _ARGUMENTS, _ONE_END = "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"
_NAME = re.compile(r"[^\s<]++")
_ID = re.compile(rf"\s*+(?:functions\.)?+({_NAME.pattern})\s*+{re.escape(_ARGUMENTS)}")
_NUMBER = re.compile(r":[0-9]++\Z")


def _read(cursor: Cursor, _: re.Match[str]) -> None:
    found = cursor.take(_ID)
    if found is None:
        cursor.fail(f"functions., a tool's name, its number and {_ARGUMENTS} are expected")
    number = _NUMBER.search(found[1])
    name = found[1][: number.start()] if number else found[1]
    if not name:
        cursor.fail("a tool's name is expected", found.start(1))
    refuse_prefix(cursor, name, found.start(1))
    read_named(cursor, name, found.start(1), _ONE_END)
    take_end(cursor, _ONE_END)


def _render(calls: Sequence[ToolCall]) -> str:
    written = (
        f"{_ONE}functions.{call.name}:{number}{_ARGUMENTS}{dump(call.arguments)}{_ONE_END}"
        for number, call in enumerate(calls)
    )
    return _ALL + "".join(written) + _ALL_END


FORMAT = Format(
    name="kimi_k2",
    example=f'{_ALL}{_ONE}functions.get_weather:0{_ARGUMENTS}{{"city": "Paris"}}{_ONE_END}{_ALL_END}',
    mark=re.compile(rf"(?:{re.escape(_ALL)}\s*+)?+{re.escape(_ONE)}"),
    needs=("<|tool_call_begin|>",),
    read=_read,
    render=_render,
    can_name=lambda name: _NAME.fullmatch(name) is not None,
    between=separators(_ALL, _ALL_END, _ONE_END),
    closing=_ALL_END,
)
