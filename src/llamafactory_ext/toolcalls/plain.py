"""Texts that are nothing but calls written as most are: read at once, and as the walk over all formats reads them."""

from __future__ import annotations

import re

from ..errors import DataError
from .call_objects import plain_call
from .formats import FORMATS, Format
from .model import ParsedCall, ToolCall

# A thought without marks in it, at the beginning of a text.
_THOUGHT = re.compile(r"\s*+<think>[^<]*+</think>\s*+")
_OPENING, _CLOSING = re.compile(r"<tool_call>\s*+(?=\{)"), re.compile(r"\s*+</tool_call>")
_BETWEEN = re.compile(r"\s*+")
_END = re.compile(r"\s*+(?:<\|(?:im_end|eot_id)\|>\s*+)?\Z")
_BARE = (None, "json", "llama3")
_TAGGED = (None, "qwen", "ling")


def plain_calls(text: str, known: str | None) -> tuple[tuple[ParsedCall, ...], int, int, Format] | None:
    """Return calls in JSON, their start, end and format: one alone, or any number between Qwen's tags.

    Args:
        text: all of it. A short thought may stand before the tags, and a turn's end token behind all.
        known: the format of calls; None for any.

    Returns:
        None for any other text, and where a call is written in another way.
    """
    if text.startswith("{"):
        if known not in _BARE or (found := _call(text, 0)) is None or _END.match(text, found[0].end) is None:
            return None
        call, members = found
        return None if members > 2 else ((call,), 0, call.end, FORMATS[known or "json"])
    if known not in _TAGGED:
        return None
    thought = _THOUGHT.match(text)
    start = place = 0 if thought is None else thought.end()
    calls: list[ParsedCall] = []
    while (opening := _OPENING.match(text, place)) is not None:
        found = _call(text, opening.end())
        closing = None if found is None else _CLOSING.match(text, found[0].end)
        if found is None or closing is None:
            return None
        calls.append(found[0])
        end = closing.end()
        between = _BETWEEN.match(text, end)
        place = end if between is None else between.end()
    if not calls or _END.match(text, place) is None:
        return None
    return tuple(calls), start, end, FORMATS[known or "qwen"]


def _call(text: str, place: int) -> tuple[ParsedCall, int] | None:
    """Return the call in JSON at a place, and how many members its object has."""
    found = plain_call(text, place)
    if found is None:
        return None
    try:
        call = ToolCall(found.name, found.arguments)
    except DataError:
        return None
    return ParsedCall(call, place, found.end, *found.span), found.members
