r"""`<|tool_call_start|>[f(x="y"), g()]<|tool_call_end|>`: LFM2 and LFM2.5 (Liquid AI).

As in its chat template and vLLM's parser for Python's syntax. LLaMA-Factory's `LFM2ToolUtils` writes a text between
double quotes as it is, quotes and line breaks included, and other values as JSON. So a text in double quotes goes on
until a quote that the next argument or the end of the call follows. Without other quotes and line breaks it is a
literal of Python, so a backslash that upstream writes is read as Python's then, as upstream itself reads it.

Between the same marks LLaMA-Factory's records hold calls as JSON, behind words or a thought: these are read too.
"""

from __future__ import annotations

import re

from ...errors import CallParseError
from ..call_objects import OBJECT_AHEAD, read_call_objects
from ..cursor import Cursor
from ..json_text import read_json
from ..literals import NAME, PARAMETER, peek, read_call, take_text
from ..values import Json
from .form import Format, speaks_of
from .parts import read_inside, separators, take_end
from .python import can_name
from .pythonic import write_list

_START, _END = "<|tool_call_start|>", "<|tool_call_end|>"
_OPENING = re.compile(rf"({NAME})\(\s*+")
_KEY = re.compile(rf"\s*+({PARAMETER.pattern})\s*+=(?!=)\s*+")
_CALL_END = rf"\)\s*+(?:\]|,\s*+{NAME}\(|{re.escape(_END)}|\Z)"
_ARGUMENT = rf"(?:{PARAMETER.pattern}\s*+=|\*\*\s*+\{{)"
_QUOTE_END = rf'"(?=\s*+(?:,\s*+{_ARGUMENT}|{_CALL_END}))'
_TEXT = re.compile(rf'"((?:[^"\\]++|\\.|(?!{_QUOTE_END})")*+){_QUOTE_END}', re.DOTALL)
_LITERAL = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)


def _read(cursor: Cursor, _: re.Match[str]) -> None:
    cursor.skip_blanks()
    if OBJECT_AHEAD.match(cursor.text, cursor.pos) is not None:
        read_call_objects(cursor)
        take_end(cursor, _END)
        return
    bracket = cursor.take_text("[")
    _read_call(cursor)
    while bracket and take_text(cursor, ","):
        _read_call(cursor)
    if bracket and not take_text(cursor, "]"):
        cursor.fail("a comma or the closing bracket is expected after a call")
    take_end(cursor, _END)


def _read_call(cursor: Cursor) -> None:
    """Read a call as upstream writes it, or else in Python's syntax."""
    peek(cursor)
    try:
        end = read_inside(cursor, cursor.pos, _read_plain)
    except CallParseError:
        read_call(cursor)
    else:
        cursor.jump(end)


def _read_plain(cursor: Cursor) -> int:
    """Read a call whose values are texts in double quotes or JSON, and return its end."""
    opening = cursor.take(_OPENING)
    if opening is None:
        cursor.fail("a tool's name and an opening parenthesis are expected")
    arguments: dict[str, Json] = {}
    while (key := cursor.take(_KEY)) is not None:
        cursor.count_value()
        if key[1] in arguments:
            cursor.fail(f"the argument {key[1]!a} is given twice", key.start(1))
        if cursor.peek() == "'":
            cursor.fail("a text in double quotes or JSON is expected")
        arguments[key[1]] = _read_text(cursor) if cursor.peek() == '"' else read_json(cursor)[0]
        if not cursor.take_text(","):
            break
    if not cursor.take_text(")"):
        cursor.fail("a comma or the closing parenthesis is expected after an argument")
    cursor.add(opening[1], arguments, opening.start(), opening.span(1))
    return cursor.pos


def _read_text(cursor: Cursor) -> str:
    text = cursor.take(_TEXT)
    if text is None:
        cursor.steps += len(cursor.text) - cursor.pos  # all of it was looked at
        cursor.fail("this quote is never closed")
    if "\\" not in text[1] or "\n" in text[1] or _LITERAL.fullmatch(text[1]) is None:
        return text[1]
    literal = Cursor(f"f(x={text[0]})")
    read_call(literal)
    value = literal.calls[0].call.arguments["x"]
    assert isinstance(value, str)
    return value


FORMAT = Format(
    name="lfm2",
    example=f'{_START}[get_weather(city="Paris")]{_END}',
    mark=re.compile(re.escape(_START)),
    needs=("<|tool_call_start|>",),
    meant=speaks_of("(", rf"{re.escape(_START)}\s*+(?:\[\s*+)?(?:{NAME}\(|\{{\s*+\")"),
    read=_read,
    render=lambda calls: f"{_START}{write_list(calls)}{_END}",
    can_name=can_name,
    between=separators(_START, _END),
    closing=_END,
)
