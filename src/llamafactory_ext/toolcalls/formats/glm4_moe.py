r"""`<tool_call>f\n<arg_key>k</arg_key>\n<arg_value>v</arg_value>\n</tool_call>`: GLM-4.5, 4.6 and, on one line, 4.7.

As in these models' chat templates and vLLM's parsers `glm45` and `glm47`. LLaMA-Factory's `GLM4MOEToolUtils` leaves
out `</tool_call>`: the next call or the end of the turn ends a call as well. Values are bare text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..cursor import Cursor
from ..model import ToolCall
from ..untyped import write_value
from .form import Format
from .parts import STOP, separators
from .tagged import Tags, read_tagged, write_tagged

_OPENING, _CLOSING = "<tool_call>", "</tool_call>"
_NAME = re.compile(r"""[^\s<{\["'(),=][^\s<(),=]*+""")
_KEY = r"<arg_key>([^<]*+(?:<(?!/arg_key>)[^<]*+)*+)</arg_key>\s*+<arg_value>"
_CALL_END = rf"(?={_CLOSING}|{_OPENING}|{STOP})"
_TAGS = Tags(
    call=re.compile(f"({_NAME.pattern})"),
    parameter=re.compile(rf"\s*+{_KEY}"),
    value_end=re.compile(rf"</arg_value>(?=\s*+(?:<arg_key>|{_CALL_END}))"),
    call_end=re.compile(rf"(?=\s*+{_CALL_END})"),
    open_without_arguments=True,
)
_CLOSING_TAG = re.compile(rf"\s*+{_CLOSING}")


def _read(cursor: Cursor, _: re.Match[str]) -> None:
    read_tagged(cursor, _TAGS)
    cursor.take(_CLOSING_TAG)


def _render(calls: Sequence[ToolCall]) -> str:
    blocks = []
    for call in calls:
        arguments = "".join(
            f"<arg_key>{key}</arg_key>\n<arg_value>{write_value(value)}</arg_value>\n"
            for key, value in call.arguments.items()
        )
        blocks.append(f"{_OPENING}{call.name}\n{arguments}{_CLOSING}")
    return write_tagged("\n".join(blocks), calls, FORMAT)


FORMAT = Format(
    name="glm4_moe",
    example=f"{_OPENING}get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n{_CLOSING}",
    mark=re.compile(rf"{_OPENING}\s*+(?={_NAME.pattern}\s*+(?:<|\Z))"),
    needs=("<tool_call>",),
    read=_read,
    render=_render,
    can_name=lambda name: _NAME.fullmatch(name) is not None,
    between=separators(_OPENING, _CLOSING),
    closing=_CLOSING,
    typed=False,
)
