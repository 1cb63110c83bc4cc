r"""`<tool_calls>\n{"name": ..., "arguments": {...}}\n{...}\n</tool_calls>`: MiniMax-M1.

As in its chat template, LLaMA-Factory's `MiniMaxM1ToolUtils` and vLLM's parser `minimax`: one object per line.
"""

from __future__ import annotations

import re

from ..call_objects import read_call_object
from ..cursor import Cursor
from .form import Format, any_name, speaks_of
from .json_object import write_object
from .parts import read_call_list, separators, take_end

_OPENING, _CLOSING = "<tool_calls>", "</tool_calls>"


def _read(cursor: Cursor, _: re.Match[str]) -> None:
    if cursor.peek() == "[":
        read_call_list(cursor)
    else:
        read_call_object(cursor)
        while cursor.take_text(",") or cursor.peek() == "{":
            read_call_object(cursor)
    take_end(cursor, _CLOSING)


FORMAT = Format(
    name="minimax1",
    example=f'{_OPENING}\n{{"name": "get_weather", "arguments": {{"city": "Paris"}}}}\n{_CLOSING}',
    mark=re.compile(rf"{_OPENING}(?=\s*+[\[{{])"),
    needs=("<tool_calls>",),
    meant=speaks_of("{", rf"{_OPENING}\s*+(?:\[\s*+)?\{{"),
    read=_read,
    render=lambda calls: "\n".join((_OPENING, *map(write_object, calls), _CLOSING)),
    can_name=any_name,
    between=separators(_OPENING, _CLOSING),
    closing=_CLOSING,
)
