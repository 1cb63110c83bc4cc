"""What several call formats are made of."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from ...errors import CallParseError, DataError
from ..call_objects import read_call_object
from ..cursor import Cursor
from ..json_text import read_json
from ..model import Tool, ToolCall
from ..near import near_word
from ..values import Json
from .form import BLANK, Format

_T = TypeVar("_T")
_FUNCTIONS = "functions"
# A special token that ends or begins a turn.
BREAK = r"(?:<\||<｜(?!DSML|(?:DSM?|D?)\Z)|</s>|<eos>|<end_of|<seed:eos>|<bos>|<turn\|>|<tool\|>|\[e~\[)"
# A turn that stops here: the end of the text, or such a token.
STOP = rf"\s*+(?:\Z|{BREAK})"
_STOP_AHEAD = re.compile(rf"(?={STOP})")


def separators(*marks: str) -> re.Pattern[str]:
    """Return the pattern of white space, commas, semicolons and a format's own marks between calls."""
    own = "".join(f"|{re.escape(mark)}" for mark in marks)
    return re.compile(rf"(?:[{BLANK},;]{own})*+")


def stops(cursor: Cursor) -> bool:
    """Tell whether the turn ends here: generation often stops before the end marks."""
    return cursor.take(_STOP_AHEAD) is not None


def take_end(cursor: Cursor, mark: str, after: str = "a call") -> None:
    """Step over an end mark, which only the end of the turn may stand for."""
    if not cursor.take_text(mark) and not stops(cursor):
        cursor.fail(f"{mark} is expected after {after}")


def read_arguments(cursor: Cursor, end: str = "") -> dict[str, Json]:
    """Read the JSON object of a call's arguments, or the JSON text of one; null and "" are no arguments.

    Args:
        cursor: stands before the arguments.
        end: an end mark that may follow at once where a call has no arguments; it is not read.
    """
    opening = cursor.peek()
    start = cursor.pos
    if opening != "{" and end and cursor.text.startswith(end, start):
        return {}
    if opening not in ("{", '"') and not cursor.text.startswith("null", start):
        cursor.fail("the arguments must be a JSON object")
    value, _, _ = read_json(cursor)
    if isinstance(value, str):
        value = _decode(cursor, value, start)
    if value is not None and not isinstance(value, dict):
        cursor.fail("the arguments are no JSON object", start)
    return value or {}


def read_named(cursor: Cursor, name: str, name_start: int, end: str = "") -> None:
    """Read the arguments of a call whose name stands before them, and add the call, which begins at its name."""
    arguments = read_arguments(cursor, end)
    cursor.add(name, arguments, name_start, (name_start, name_start + len(name)))


def refuse_prefix(cursor: Cursor, name: str, start: int) -> None:
    """Fail if a slip in `functions.` before a tool's name makes the name of another tool."""
    if name in cursor.declared:
        return
    prefix, dot, _ = name.partition(".")
    tool = next((tool for tool in cursor.declared if name.endswith(tool)), None)
    if tool is not None:
        prefix, dot = name[: -len(tool)].rstrip(".:/_-"), "."
    if dot and (near_word(prefix, (_FUNCTIONS,)) is not None):
        cursor.fail(f'"{_FUNCTIONS}." was meant before the name of a tool', start)


def _decode(cursor: Cursor, text: str, start: int) -> object:
    """Read arguments that stand as JSON text within JSON."""
    if not text.strip():
        return None
    try:
        value, _, _ = read_json(inner := Cursor(text))
    except CallParseError:
        cursor.fail("the arguments are a text that is no JSON", start)
    if inner.peek():
        cursor.fail("the arguments are a text that is no JSON", start)
    cursor.note_repeated(inner.repeated)
    return value


def read_call_list(cursor: Cursor) -> None:
    """Read the JSON list of call objects that must stand here."""
    if not cursor.take_text("["):
        cursor.fail("a JSON list of calls is expected")
    read_call_object(cursor)
    while cursor.take_text(","):
        read_call_object(cursor)
    if not cursor.take_text("]"):
        cursor.fail("a comma or the closing bracket is expected after a call")


def read_objects(cursor: Cursor, read: Callable[[Cursor], object]) -> None:
    """Read the object that `OBJECT_AHEAD` found, and those that follow it in a list."""
    read(cursor)
    while cursor.take_text(",") and cursor.peek() == "{":
        read(cursor)
    cursor.take_text("]")


def read_inside(cursor: Cursor, place: int, read: Callable[[Cursor], _T]) -> _T:
    """Read something, calls too, at a place that the cursor has stepped over already."""
    inner = Cursor(cursor.text, cursor.declared)
    inner.pos = place
    inner.calls = cursor.calls
    try:
        return read(inner)
    finally:
        cursor.steps += inner.steps
        cursor.note_repeated(inner.repeated)


def read_back(text: str, calls: Sequence[ToolCall], form: Format, declared: Mapping[str, Tool] | None = None) -> str:
    """Return what a format without escapes has written, if it reads as the same calls.

    Raises:
        DataError: a name or value holds the format's own marks in a place where they end it.
    """
    cursor = Cursor(text, declared)
    try:
        form.find(cursor)
        found = [one.call for one in cursor.calls]
    except CallParseError:
        found = []
    if found != list(calls):
        pairs = zip(calls, [*found, *[None] * len(calls)], strict=False)
        first = next((call for call, read in pairs if call != read), calls[-1])
        raise DataError(
            f"The format {form.name!r} cannot write the call of {first.name!a}: it has no escapes, and a name or a "
            "value holds its own marks. Change that, or choose another format."
        )
    return text


def dump_list(objects: Iterable[Mapping[str, object]]) -> str:
    """Write a JSON list on one line."""
    return json.dumps(list(objects), ensure_ascii=False)
