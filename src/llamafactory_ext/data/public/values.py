"""Values inside the texts of tool data: JSON, or the Python literals that many publishers write in its place."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from llamafactory_ext.errors import CallParseError
from llamafactory_ext.toolcalls.cursor import Cursor
from llamafactory_ext.toolcalls.json_text import read_json
from llamafactory_ext.toolcalls.literals import read_literal

_REPEATED: ContextVar[list[str] | None] = ContextVar("repeated", default=None)


@contextmanager
def repeated_keys() -> Iterator[list[str]]:
    """Give the keys that objects of the texts that are read in this block have twice, as they are found."""
    found: list[str] = []
    token = _REPEATED.set(found)
    try:
        yield found
    finally:
        _REPEATED.reset(token)


def read_value(text: str, start: int = 0) -> tuple[Any, int]:
    """Read the JSON value or Python literal that must stand at `start`: (value, where it ends).

    Raises:
        CallParseError: neither stands there.
    """
    cursor = Cursor(text)
    cursor.jump(start)
    try:
        value, _, end = read_json(cursor)
    except CallParseError:
        cursor = Cursor(text)
        cursor.jump(start)
        value = read_literal(cursor)
        end = cursor.pos
    if cursor.repeated is not None and (found := _REPEATED.get()) is not None:
        found.append(cursor.repeated)
    return value, end


def whole_value(text: str) -> Any:
    """Return the value that is the whole text, blanks apart.

    Raises:
        CallParseError: no value, or more than one.
    """
    value, end = read_value(text)
    if text[end:].strip():
        raise CallParseError(f"At character {end + 1}: the value ends before its text does.")
    return value


def as_list(published: Any) -> list[Any] | None:
    """Return a list that is published as such or as text, nothing as an empty one, one object as a list of it.

    Returns:
        None for anything else.
    """
    value = published
    if isinstance(value, str):
        try:
            value = whole_value(value) if value.strip() else []
        except CallParseError:
            return None
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [value]
    return list(value) if isinstance(value, list) else None


def list_items(text: str) -> list[str] | None:
    """Return the texts of the items of a JSON list as published; None if the text is no such list.

    A text among them is given without its quotes.
    """
    decoder = json.JSONDecoder(strict=False)
    pos = len(text) - len(text.lstrip())
    items: list[str] = []
    if not text.startswith("[", pos):
        return None
    separator = ","
    while separator == ",":
        pos = _after_blanks(text, pos + 1)
        if not items and text.startswith("]", pos):
            separator = "]"
            break
        try:
            value, end = decoder.raw_decode(text, pos)
        except (ValueError, RecursionError):
            return None
        items.append(value if isinstance(value, str) else text[pos:end])
        pos = _after_blanks(text, end)
        separator = text[pos : pos + 1]
    return items if separator == "]" and not text[pos + 1 :].strip() else None


def _after_blanks(text: str, pos: int) -> int:
    while text[pos : pos + 1].isspace():
        pos += 1
    return pos


def as_text(value: Any) -> str:
    """Return the text itself, or the JSON of anything else."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
