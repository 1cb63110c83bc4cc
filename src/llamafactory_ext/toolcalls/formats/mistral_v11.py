"""`[TOOL_CALLS]f[ARGS]{...}`, one after the other: Mistral from its tokenizer v11 on (Small 3.2, Devstral, Magistral).

As in mistral-common, the chat templates and vLLM's parser `mistral`. `[CALL_ID]` and an id may follow the name, and
`[ARGS]` may be left out. What begins with a list is the format `mistral`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..cursor import Cursor
from ..json_text import dump
from ..model import ToolCall
from .form import Format, speaks_of
from .parts import read_named

_MARKER, _ARGUMENTS = "[TOOL_CALLS]", "[ARGS]"
_NAME = re.compile(r"[^\s\[\]{}]++")
_CALL = re.compile(rf"\s*+({_NAME.pattern})\s*+(?:\[CALL_ID\][^\[\]{{}}]*+)?+(?:\[ARGS\])?+")


def _read(cursor: Cursor, _: re.Match[str]) -> None:
    call = cursor.take(_CALL)
    if call is None:
        cursor.fail(f"a tool's name is expected after {_MARKER}")
    read_named(cursor, call[1], call.start(1), _MARKER)


def _render(calls: Sequence[ToolCall]) -> str:
    return "".join(f"{_MARKER}{call.name}{_ARGUMENTS}{dump(call.arguments)}" for call in calls)


FORMAT = Format(
    name="mistral_v11",
    example=f'{_MARKER}get_weather{_ARGUMENTS}{{"city": "Paris"}}',
    mark=re.compile(rf"{re.escape(_MARKER)}(?=\s*+[^\s\[\]{{}}])"),
    needs=("[TOOL_CALLS]",),
    meant=speaks_of("{", r"\[TOOL_CALLS\]\s*+[^\s\[\]{}]++(?:\s*+\{|\s*+\[(?:ARGS|CALL_ID)\]|\Z)"),
    read=_read,
    render=_render,
    can_name=lambda name: _NAME.fullmatch(name) is not None,
)
