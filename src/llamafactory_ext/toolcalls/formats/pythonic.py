r"""Calls in Python's syntax between marks of the model's own.

Llama 4 (vLLM's parser `llama4_pythonic`): `<|python_start|>[f(x="y"), g()]<|python_end|>`. Gemma 3, in Google's guide
to function calling: "```tool_code\nf(x="y")\n```", one call per line, each of them inside `print(...)` at times.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from ..cursor import Cursor
from ..literals import NAME, PARAMETER, peek, read_call, take_text
from ..model import ToolCall
from ..values import Json
from .form import Format, speaks_of
from .parts import separators, take_end
from .python import can_name

_START, _END = "<|python_start|>", "<|python_end|>"
_FENCE, _FENCE_END = "```tool_code", "```"
_PRINT = re.compile(rf"\s*+print\(\s*+(?={NAME}\()")


def write_value(value: Json) -> str:
    """Write a Python literal with double quotes, whose escapes are those of JSON."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(map(write_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{write_value(key)}: {write_value(item)}' for key, item in value.items())}}}"
    return repr(value)


def write_call(call: ToolCall) -> str:
    """Write one call; an argument whose name is no identifier is written as `**{...}`."""
    arguments = (
        f"{name}={write_value(value)}" if PARAMETER.fullmatch(name) else f"**{write_value({name: value})}"
        for name, value in call.arguments.items()
    )
    return f"{call.name}({', '.join(arguments)})"


def write_list(calls: Iterable[ToolCall]) -> str:
    """Write calls as a Python list."""
    return f"[{', '.join(map(write_call, calls))}]"


def read_list(cursor: Cursor) -> None:
    """Read a Python list of calls, or a single call."""
    bracket = cursor.take_text("[")
    peek(cursor)
    read_call(cursor)
    while bracket and take_text(cursor, ","):
        peek(cursor)
        read_call(cursor)
    if bracket and not take_text(cursor, "]"):
        cursor.fail("a comma or the closing bracket is expected after a call")


def _read(cursor: Cursor, _: re.Match[str]) -> None:
    read_list(cursor)
    take_end(cursor, _END)


def _read_code(cursor: Cursor, _: re.Match[str]) -> None:
    while True:
        peek(cursor)
        printed = cursor.take(_PRINT) is not None
        read_list(cursor)
        if printed and not take_text(cursor, ")"):
            cursor.fail("the closing parenthesis of print is expected")
        take_text(cursor, ";")
        if peek(cursor) in ("`", "<", ""):
            break
    if cursor.text.startswith(_FENCE, cursor.pos):
        cursor.fail(f"{_FENCE_END} is expected after the calls")
    take_end(cursor, _FENCE_END)


def _render_code(calls: Sequence[ToolCall]) -> str:
    return "\n".join((_FENCE, *map(write_call, calls), _FENCE_END))


PYTHONIC = Format(
    name="pythonic",
    example=f'{_START}[get_weather(city="Paris")]{_END}',
    mark=re.compile(rf"{re.escape(_START)}(?=\s*+(?:\[|{NAME}\())"),
    needs=("<|python_start|>",),
    read=_read,
    render=lambda calls: f"{_START}{write_list(calls)}{_END}",
    can_name=can_name,
    between=separators(_START, _END),
    closing=_END,
)
TOOL_CODE = Format(
    name="tool_code",
    example=f'{_FENCE}\nget_weather(city="Paris")\n{_FENCE_END}',
    mark=re.compile(_FENCE),
    needs=("```tool_code",),
    meant=speaks_of("=", rf"{_FENCE}\s*+\[?(?:print\()?+{NAME}\(\s*+{PARAMETER.pattern}\s*+="),
    read=_read_code,
    render=_render_code,
    can_name=can_name,
    between=separators(_FENCE_END),
    closing=_FENCE_END,
)
