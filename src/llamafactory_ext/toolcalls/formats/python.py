r"""`name(arg='x', n=3)`: TL-CodeLLaMA-2 (TL-Training, Tables 13 and 14) and BFCL; several calls one per line.

In a text, whatever looks like `name(` followed by `)`, `name=` or `**{` is a call; other parentheses are prose, and so
is what is done with a value: `f(x=1).get()` is a call of `f`, and `"a".join(x=1)` none.
"""

from __future__ import annotations

import re

from llamafactory_ext.toolcalls.cursor import Cursor
from llamafactory_ext.toolcalls.literals import NAME, PARAMETER, read_call
from llamafactory_ext.toolcalls.model import ToolCall

from .form import LOOSE_SEPARATORS, Format, begins_with_a_tool

_ARGUMENTS_AHEAD = rf"\(\s*+(?:\)|{PARAMETER.pattern}\s*+=(?!=)|\*\*\s*+\{{)"
_NO_DEFINITION = r"(?<!\w)(?<!\w[.-])(?<![)\]}'\"]\.)(?<!\bdef )(?<!\bclass )"
_CALL_AHEAD = re.compile(rf"{_NO_DEFINITION}(?={NAME}{_ARGUMENTS_AHEAD})")
_NAME = re.compile(rf"{PARAMETER.pattern}(?:\.{PARAMETER.pattern})*+")


def can_name(name: str) -> bool:
    """Tell whether a name is identifiers joined by dots."""
    return _NAME.fullmatch(name) is not None


def write_call(call: ToolCall) -> str:
    """Return one call; an argument whose name is no identifier is written as `**{...}`."""
    arguments = (
        f"{name}={value!r}" if PARAMETER.fullmatch(name) else f"**{ {name: value}!r}"
        for name, value in call.arguments.items()
    )
    return f"{call.name}({', '.join(arguments)})"


def _read(cursor: Cursor, _: re.Match[str]) -> None:
    read_call(cursor)


FORMAT = Format(
    name="python",
    example="get_weather(city='Paris')",
    mark=_CALL_AHEAD,
    needs=("(",),
    read=_read,
    render=lambda calls: "\n".join(map(write_call, calls)),
    can_name=can_name,
    between=LOOSE_SEPARATORS,
    closing=")",
    marked=False,
    is_code=True,
    meant=begins_with_a_tool,
    mark_with=lambda names: re.compile(rf"{_NO_DEFINITION}(?=(?:{names}|{NAME}){_ARGUMENTS_AHEAD})"),
)
