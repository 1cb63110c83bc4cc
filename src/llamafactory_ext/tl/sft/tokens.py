"""Where calls stand in a target, whatever template wrote it, and the weights of its tokens."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import CallParseError
from ...toolcalls import ParsedCall, Tool, ToolCall, detect_turn
from ...toolcalls.readings import Reader
from ...toolcalls.thoughts import split_thought
from ..key_tokens import weigh_tokens
from .examples import Settings


def target_weights(
    text: str,
    offsets: Sequence[tuple[int, int]],
    calls: Sequence[ToolCall],
    names: frozenset[str],
    settings: Settings,
    *,
    tools: Sequence[Tool] = (),
    call_format: str | None = None,
    read: Reader = detect_turn,
) -> list[float]:
    """Return the weight of each token of a target with these calls (TL-Training, arXiv:2412.15495, section 3.2).

    Args:
        text: the target as the template wrote it.
        offsets: each token's characters in it.
        calls: those of the record.
        names: every tool of the example.
        settings: which variant holds.
        tools: those that are declared.
        call_format: how the template writes calls, where that is known.
        read: reads the text.

    Raises:
        CallParseError: the calls are not in the text.
    """
    spans = locate(text, calls, tools, call_format or settings.known_format, read)
    if settings.key_variant == "reference":  # the released code counts what follows the call, the end token, too
        last = spans[-1]
        spans[-1] = ParsedCall(last.call, last.start, len(text), last.name_start, last.name_end)
    return weigh_tokens(text, offsets, spans, names, settings.w_max, settings.key_variant)


def locate(
    text: str,
    calls: Sequence[ToolCall],
    tools: Sequence[Tool] = (),
    call_format: str | None = None,
    read: Reader = detect_turn,
) -> list[ParsedCall]:
    """Return where the calls stand in the text that a template has made of them.

    A template may write calls in a way that no format of ours reads: then a call is what stands, after the thought,
    between its name and the next one.

    Raises:
        CallParseError: a name is not in the text.
    """
    names = [call.name for call in calls]
    try:
        found = list(read(text, tools, call_format).calls)
    except CallParseError:
        found = []
    if [one.call.name for one in found] == names:
        return found
    starts = []
    place = len(split_thought(text)[0])
    for name in names:
        start = text.find(name, place)
        if start < 0:
            raise CallParseError(f"The call of {name!a} is not in the text that the template has made.")
        starts.append(start)
        place = start + len(name)
    ends = [*starts[1:], len(text)]
    return [
        ParsedCall(call, start, end, start, start + len(call.name))
        for call, start, end in zip(calls, starts, ends, strict=True)
    ]
