r"""`<tool_call>f\n<arg_key>k</arg_key>\n<arg_value>v</arg_value>\n</tool_call>`: GLM-4.5, 4.6 and, on one line, 4.7.

As in these models' chat templates and vLLM's parsers `glm45` and `glm47`. LLaMA-Factory's `GLM4MOEToolUtils` leaves
out `</tool_call>`: the next call or a token that ends the turn ends a call as well. So does the end of the text, but
only where that writer would end, right behind a closing tag; elsewhere the call is cut. Values are bare text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..cursor import Cursor
from ..model import ToolCall
from ..untyped import write_value
from .form import Format
from .parts import BREAK, separators
from .tagged import Tags, read_tagged, write_tagged

_OPENING, _CLOSING = "<tool_call>", "</tool_call>"
_NAME = re.compile(r"""[^\s<{\["'(),=][^\s<(),=]*+""")
_JSON_WORDS = ("null", "true", "false", "None", "True", "False")  # no names, but what stands in place of a call
_KEY = r"<arg_key>([^<]*+(?:<(?!/arg_key>)[^<]*+)*+)</arg_key>\s*+<arg_value>"
_CALL_END = rf"(?:{_CLOSING}|{_OPENING}|{BREAK})"
_TAGS = Tags(
    call=re.compile(f"({_NAME.pattern})"),
    parameter=re.compile(rf"\s*+{_KEY}"),
    value_end=re.compile(rf"</arg_value>(?=\s*+(?:<arg_key>|{_CALL_END}|\Z))"),
    call_end=re.compile(rf"(?=\s*+{_CALL_END}|\Z)"),
    open_without_arguments=True,
)
_NEAR = 40
_CLOSING_TAG = re.compile(rf"\s*+{_CLOSING}")


def _can_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and name not in _JSON_WORDS


def _read(cursor: Cursor, mark: re.Match[str]) -> None:
    start = cursor.pos
    read_tagged(cursor, _TAGS)
    if cursor.calls[-1].call.name in _JSON_WORDS:
        cursor.fail("a call is expected between the tags", start)
    if cursor.pos == len(cursor.text):
        _refuse_cut(cursor, mark)
    cursor.take(_CLOSING_TAG)


def _refuse_cut(cursor: Cursor, mark: re.Match[str]) -> None:
    """Fail if the call that the text ends with is not written as LLaMA-Factory writes a whole one."""
    call = cursor.calls[-1]
    name = call.call.name
    before = cursor.text[max(mark.start() - _NEAR, 0) : mark.start()].rstrip()
    tool = cursor.declared.get(name)
    begins_others = tool is None and any(other.startswith(name) for other in cursor.declared)
    cut_name = not call.call.arguments and (begins_others or bool(tool and tool.required))
    on_one_line = bool(call.call.arguments) and cursor.text[call.name_end] != "\n"
    if cut_name or on_one_line or before.endswith(_CLOSING):
        cursor.fail(f"{_CLOSING} is expected after a call")


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
    # Not "<tool_call> and </tool_call>", as prose names the tags.
    mark=re.compile(rf"{_OPENING}(?! ++[^\s<]++ ++<)\s*+(?={_NAME.pattern}\s*+(?:<|\Z))"),
    needs=("<tool_call>",),
    read=_read,
    render=_render,
    can_name=_can_name,
    between=separators(_OPENING, _CLOSING),
    closing=_CLOSING,
    typed=False,
)
