r"""`<｜DSML｜invoke name="f">\n<｜DSML｜parameter name="x" string="true">v</｜DSML｜parameter>\n</｜DSML｜invoke>`.

DeepSeek V3.2, as in its published encoder and vLLM's parser `deepseek_v32`. All calls of a turn stand between
`<｜DSML｜function_calls>` and its closing tag; V4 names that tag `tool_calls`. With string="true" a value is a
text, with string="false" it is JSON; models leave that out at times, and then it is bare.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..cursor import Cursor
from ..json_text import dump
from ..model import ToolCall
from ..values import Json
from .form import Format
from .parts import BREAK, STOP, read_back, separators
from .tagged import Tags, read_tagged

_D = "｜DSML｜"
_GROUPS = ("function_calls", "tool_calls")
_OPENING, _CLOSING = f"<{_D}function_calls>", f"</{_D}function_calls>"
_NAME = re.compile(r'[^"<>\n]++')
_GROUP_OPENING = rf"<{_D}(?:{'|'.join(_GROUPS)})>"
_GROUP_CLOSING = rf"</{_D}(?:{'|'.join(_GROUPS)})>"
_PARAMETER = rf'<{_D}parameter name="'
_KEY = r'([^"]*+(?:"(?!(?: string="(?:true|false)")?+>)[^"]*+)*+)"(?: string="(true|false)")?+>'
_INVOKE_END = rf"(?:\s*+</{_D}invoke>|(?=\s*+(?:{_GROUP_CLOSING}|{BREAK})))"
_ATTRIBUTE = re.compile(r'" ?\w++="')
_TAGS = Tags(
    call=re.compile(rf'<{_D}invoke name="({_NAME.pattern})">'),
    parameter=re.compile(rf"\s*+{_PARAMETER}{_KEY}"),
    value_end=re.compile(
        rf"</{_D}parameter>(?=\s*+(?:{_PARAMETER}|<{_D}invoke|{_GROUP_OPENING})|{_INVOKE_END}|\s*+\Z)"
    ),
    call_end=re.compile(_INVOKE_END),
)
_GROUP_END = re.compile(rf"\s*+{_GROUP_CLOSING}|(?={STOP})")
_ANOTHER = re.compile(rf"\s*+(?=<{_D}invoke)")


def _read(cursor: Cursor, mark: re.Match[str]) -> None:
    read_tagged(cursor, _TAGS)
    while cursor.take(_ANOTHER) is not None:
        read_tagged(cursor, _TAGS)
    if any(_ATTRIBUTE.search(key) for found in cursor.calls for key in found.call.arguments):
        cursor.fail('an argument takes no attribute but string="true" or string="false"', mark.start())
    if mark[1] and cursor.take(_GROUP_END) is None:
        cursor.fail(f"{_CLOSING} is expected after the calls")


def _argument(key: str, value: Json) -> str:
    is_text = isinstance(value, str)
    text = value if isinstance(value, str) else dump(value)
    return f'<{_D}parameter name="{key}" string="{"true" if is_text else "false"}">{text}</{_D}parameter>\n'


def _render(calls: Sequence[ToolCall]) -> str:
    blocks = (
        f'<{_D}invoke name="{call.name}">\n'
        f"{''.join(_argument(key, value) for key, value in call.arguments.items())}</{_D}invoke>\n"
        for call in calls
    )
    return read_back(f"{_OPENING}\n{''.join(blocks)}{_CLOSING}", calls, FORMAT)


FORMAT = Format(
    name="deepseek_v32",
    example=(
        f'{_OPENING}\n<{_D}invoke name="get_weather">\n'
        f'<{_D}parameter name="city" string="true">Paris</{_D}parameter>\n</{_D}invoke>\n{_CLOSING}'
    ),
    mark=re.compile(rf"(<{_D}(?:{'|'.join(_GROUPS)})>)\s*+(?=<{_D}invoke)|(?=<{_D}invoke)"),
    needs=("<｜DSML｜invoke",),
    read=_read,
    render=_render,
    can_name=lambda name: _NAME.fullmatch(name) is not None,
    between=separators(*(f"<{slash}{_D}{group}>" for slash in ("", "/") for group in _GROUPS)),
    closing=_CLOSING,
)
