"""Calls whose arguments stand one by one between tags, as bare text: `<parameter=x>v</parameter>` and its like.

There are no escapes. So a value ends at the first closing tag that another tag of the call, or the end of the turn,
follows: a closing tag with other text behind it is part of the value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..cursor import Cursor
from ..model import ToolCall
from ..untyped import Schema, declare_texts, read_value, schema_of, texts_of
from ..values import Json
from .form import Format
from .parts import read_back

_LINE_ENDS = re.compile(r"\A\r?\n|\r?\n\Z")


@dataclass(frozen=True)
class Tags:
    """The tags of one call.

    Attributes:
        call: the opening of a call; its first group is the tool's name.
        parameter: the opening of an argument; its first group is the argument's name. A second group, where there is
            one, says "true" for a text and "false" for JSON.
        value_end: the closing of a value that a tag of the call follows.
        call_end: the closing of a call; it matches at the end of the turn too.
        open_without_arguments: whether a call without arguments may lack its closing too; elsewhere it is a cut one.
        lines: whether values stand on lines of their own, so that one line break at either side is not theirs.
    """

    call: re.Pattern[str]
    parameter: re.Pattern[str]
    value_end: re.Pattern[str]
    call_end: re.Pattern[str]
    open_without_arguments: bool = False
    lines: bool = False


def read_tagged(cursor: Cursor, tags: Tags) -> None:
    """Read the call that must stand here and add it to the cursor's calls."""
    cursor.skip_blanks()
    opening = cursor.take(tags.call)
    if opening is None:
        cursor.fail("the tag of a call with the tool's name is expected")
    arguments: dict[str, Json] = {}
    while (parameter := cursor.take(tags.parameter)) is not None:
        cursor.count_value()
        text = _read_text(cursor, tags)
        if parameter[1] in arguments:
            cursor.note_repeated(parameter[1])
        arguments[parameter[1]] = read_value(text, _schema(cursor, opening[1], parameter))
    end = cursor.take(tags.call_end)
    if end is None or not (end[0].strip() or arguments or tags.open_without_arguments):
        cursor.fail("another argument or the closing tag of the call is expected")
    cursor.add(opening[1], arguments, opening.start(), opening.span(1))


def _schema(cursor: Cursor, tool: str, parameter: re.Match[str]) -> Schema | None:
    said = parameter[2] if parameter.re.groups > 1 else None
    if said is None:
        return schema_of(cursor.declared, tool, parameter[1])
    return {"type": "string"} if said == "true" else None


def _read_text(cursor: Cursor, tags: Tags) -> str:
    start = cursor.pos
    end = cursor.seek(tags.value_end)
    if end is None:
        cursor.fail("this value has no closing tag that another tag of the call follows", start)
    text = cursor.text[start : end.start()]
    return _LINE_ENDS.sub("", text) if tags.lines else text


def write_tagged(text: str, calls: Sequence[ToolCall], form: Format) -> str:
    """Return what an untyped format has written, if every argument can be told from its tags."""
    return read_back(text, texts_of(calls), form, declare_texts(calls))
