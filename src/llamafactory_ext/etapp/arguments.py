"""The arguments of a call as a model writes them: JSON, else Python literals. Nothing is ever evaluated."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from ..errors import CallParseError, DataError
from ..toolcalls import ToolCall
from ..toolcalls.cursor import Cursor
from ..toolcalls.literals import read_literal

_LONGEST = 1 << 20


class UnreadableError(Exception):
    """Arguments that are no object; the text says why."""


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def read_call(name: Any, arguments: Any) -> ToolCall:
    """Return a call.

    Args:
        name: of the tool.
        arguments: an object, or the text of one; nothing stands for no arguments.

    Raises:
        UnreadableError: no name, no object, numbers without end, or too deep.
    """
    value = _value(arguments.strip()) if isinstance(arguments, str) else arguments
    try:
        if value is not None and not isinstance(value, dict):
            raise UnreadableError("the arguments are no object")
        return ToolCall(name, value or {})
    except (DataError, RecursionError, TypeError) as error:
        raise UnreadableError(getattr(error, "message", "the arguments are nested too deeply")) from None


def _value(text: str) -> Any:
    if not text:
        return {}
    if len(text) > _LONGEST:
        raise UnreadableError(f"the arguments are longer than {_LONGEST} characters")
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        pass
    try:
        cursor = Cursor(text, {})
        value = read_literal(cursor)
        if text[cursor.pos :].strip():
            raise UnreadableError("something stands behind the arguments")
    except (CallParseError, RecursionError, ValueError):
        raise UnreadableError("the arguments are neither JSON nor Python literals") from None
    return value
