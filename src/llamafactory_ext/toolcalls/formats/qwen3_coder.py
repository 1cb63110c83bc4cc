r"""`<tool_call>\n<function=f>\n<parameter=x>\nv\n</parameter>\n</function>\n</tool_call>`.

Qwen3-Coder, Qwen 3.5 and 3.6, as in these models' chat templates, LLaMA-Factory's `Qwen35ToolUtils` and vLLM's
parser `qwen3_coder`. Values are bare text on lines of their own (see `untyped`). Models leave out the outer tags
at times; the inner ones suffice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..cursor import Cursor
from ..model import ToolCall
from ..untyped import write_value
from .form import Format
from .parts import BREAK, separators, take_end
from .tagged import Tags, read_tagged, write_tagged

_OPENING, _CLOSING = "<tool_call>", "</tool_call>"
_NAME = re.compile(r"[^\s<>]++")
_FUNCTION = rf"<function=\s*+({_NAME.pattern})\s*+>"
_PARAMETER = "<parameter="
_FUNCTION_END = rf"(?:\s*+</function>|(?=\s*+(?:{_CLOSING}|{BREAK})))"
TAGS = Tags(
    call=re.compile(_FUNCTION),
    parameter=re.compile(rf"\s*+{_PARAMETER}([^>]*+)>"),
    value_end=re.compile(rf"</parameter>(?=\s*+(?:{_PARAMETER}|<function=|{_OPENING})|{_FUNCTION_END}|\s*+\Z)"),
    call_end=re.compile(_FUNCTION_END),
    lines=True,
)
_MARK = re.compile(rf"({_OPENING})\s*+(?=<function=)|(?={_FUNCTION}\s*+{_PARAMETER})")
_ANOTHER = re.compile(r"\s*+(?=<function=)")


def can_name(name: str) -> bool:
    """Tell whether a name has neither white space nor angle brackets."""
    return _NAME.fullmatch(name) is not None


def read_functions(cursor: Cursor, tags: Tags, closing: str) -> None:
    """Read the calls between a pair of outer tags; nothing but the end of the turn may stand for the closing one."""
    read_tagged(cursor, tags)
    while cursor.take(_ANOTHER) is not None:
        read_tagged(cursor, tags)
    take_end(cursor, closing)


def _read(cursor: Cursor, mark: re.Match[str]) -> None:
    if mark[1]:
        read_functions(cursor, TAGS, _CLOSING)
    else:
        read_tagged(cursor, TAGS)


def _render(calls: Sequence[ToolCall]) -> str:
    blocks = []
    for call in calls:
        arguments = "".join(
            f"<parameter={key}>\n{write_value(value)}\n</parameter>\n" for key, value in call.arguments.items()
        )
        blocks.append(f"{_OPENING}\n<function={call.name}>\n{arguments}</function>\n{_CLOSING}")
    return write_tagged("\n".join(blocks), calls, FORMAT)


FORMAT = Format(
    name="qwen3_coder",
    example=f"{_OPENING}\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n{_CLOSING}",
    mark=_MARK,
    needs=("<function=",),
    read=_read,
    render=_render,
    can_name=can_name,
    between=separators(_OPENING, _CLOSING),
    closing=_CLOSING,
    typed=False,
)
