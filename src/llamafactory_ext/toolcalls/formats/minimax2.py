r"""`<minimax:tool_call>\n<invoke name="f">\n<parameter name="x">v</parameter>\n</invoke>\n</minimax:tool_call>`.

MiniMax-M2, as in its chat template and vLLM's parser `minimax_m2`. Several calls share the outer tags. LLaMA-Factory's
`MiniMaxM2ToolUtils` writes the inner ones only, and so do models at times. Values are bare text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..cursor import Cursor
from ..model import ToolCall
from ..untyped import write_value
from .form import Format, speaks_of
from .parts import BREAK, separators, take_end
from .tagged import Tags, read_tagged, write_tagged

_OPENING, _CLOSING = "<minimax:tool_call>", "</minimax:tool_call>"
_NAME = re.compile(r'[^"<>\n]++')
_PARAMETER = r'<parameter name="'
_KEY = r'([^"]*+(?:"(?!>)[^"]*+)*+)">'
_INVOKE_END = rf"(?:\s*+</invoke>|(?=\s*+(?:{_CLOSING}|{BREAK})))"
_TAGS = Tags(
    call=re.compile(rf'<invoke name="({_NAME.pattern})">'),
    parameter=re.compile(rf"\s*+{_PARAMETER}{_KEY}"),
    value_end=re.compile(rf"</parameter>(?=\s*+(?:{_PARAMETER}|<invoke name=|{_OPENING})|{_INVOKE_END}|\s*+\Z)"),
    call_end=re.compile(_INVOKE_END),
)
_ANOTHER = re.compile(r"\s*+(?=<invoke name=)")


def _read(cursor: Cursor, mark: re.Match[str]) -> None:
    read_tagged(cursor, _TAGS)
    while cursor.take(_ANOTHER) is not None:
        read_tagged(cursor, _TAGS)
    if mark[1]:
        take_end(cursor, _CLOSING)


def _render(calls: Sequence[ToolCall]) -> str:
    blocks = []
    for call in calls:
        arguments = "".join(
            f'<parameter name="{key}">{write_value(value)}</parameter>\n' for key, value in call.arguments.items()
        )
        blocks.append(f'<invoke name="{call.name}">\n{arguments}</invoke>\n')
    return write_tagged(f"{_OPENING}\n{''.join(blocks)}{_CLOSING}", calls, FORMAT)


FORMAT = Format(
    name="minimax2",
    example=(
        f'{_OPENING}\n<invoke name="get_weather">\n<parameter name="city">Paris</parameter>\n</invoke>\n{_CLOSING}'
    ),
    mark=re.compile(rf"({_OPENING})\s*+(?=<invoke name=)|(?=<invoke name=)"),
    needs=("<invoke name=",),
    meant=speaks_of("<parameter", r'(?:<minimax:tool_call>\s*+)?<invoke name="[^"<>\n]++">\s*+<parameter name='),
    read=_read,
    render=_render,
    can_name=lambda name: _NAME.fullmatch(name) is not None,
    between=separators(_OPENING, _CLOSING),
    closing=_CLOSING,
    typed=False,
)
