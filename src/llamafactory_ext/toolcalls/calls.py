"""Calls out of a text and into a text, in any of the formats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llamafactory_ext.errors import CallParseError, DataError, NoCallError, OptionError

from .cursor import Cursor
from .formats import FORMATS, Format
from .model import ParsedCall, Tool, ToolCall
from .values import check_text


def find_calls(text: str, format_name: str, declared: Iterable[Tool] = ()) -> list[ParsedCall]:
    """Return all calls of a text with the characters that state them, in the text's order.

    Other text may stand before, between and after. What begins like a call of the format but is malformed is an error,
    not text: a reward or a metric must not pass over it.

    Args:
        text: what a model wrote, or training text.
        format_name: one of `FORMATS`.
        declared: the tools that the model was told of; they type values that the format writes without types.

    Raises:
        NoCallError: the text holds no call of this format.
        CallParseError: a malformed call (NoCallError is one of its kinds).
        OptionError: no such format.
    """
    form = _format(format_name)
    try:
        check_text(text, "The text")
    except DataError as error:
        raise CallParseError(error.message) from None
    cursor = Cursor(text, {tool.name: tool for tool in declared})
    form.find(cursor)
    if not cursor.calls:
        raise NoCallError(
            f"There is no call of the format {format_name!r} in the text; it looks like {form.example!a}."
        )
    return cursor.calls


def parse_calls(text: str, format_name: str, declared: Iterable[Tool] = ()) -> list[ToolCall]:
    """Return all calls of a text, in its order; arguments and errors as those of `find_calls`."""
    return [found.call for found in find_calls(text, format_name, declared)]


def render_calls(calls: Sequence[ToolCall], format_name: str) -> str:
    """Return the calls as a model of this format writes them; `parse_calls` gives them back.

    Raises:
        DataError: no calls, or a name that the format cannot write.
        OptionError: no such format.
    """
    form = _format(format_name)
    if not calls:
        raise DataError("There are no calls to write; an answer without calls is ordinary text.")
    for call in calls:
        if not form.can_name(call.name):
            raise DataError(f"The format {format_name!r} cannot write the tool name {call.name!a}; rename the tool.")
    return form.render(calls)


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise OptionError(f"There is no call format {name!r}; choose one of {', '.join(FORMATS)}.")
    return FORMATS[name]
