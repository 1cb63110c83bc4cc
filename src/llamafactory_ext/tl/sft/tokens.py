"""From tokens back to characters: which text each token of a target stands for, whatever template wrote it.

A template asks the tokenizer for ids, text by text, and puts them together. `TracingTokenizer` answers in its place
with ids that remember text and characters, so that the target's text and offsets can be read from what the template
makes of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import CallParseError
from ...toolcalls import ParsedCall, Tool, ToolCall, detect
from ...toolcalls.thoughts import split_thought
from ..key_tokens import weigh_tokens
from .examples import Settings

_SHIFT = 1 << 32  # above every vocabulary


class TracingTokenizer:
    """A fast tokenizer whose ids know where they come from; everything else is the tokenizer's own."""

    def __init__(self, tokenizer: Any) -> None:
        self._real = tokenizer
        self._texts: list[str] = []
        self._spans: list[tuple[int, int, int]] = []  # text, start, end

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __call__(self, text: str, **options: Any) -> Any:
        encoding = self._real(text, **{**options, "return_offsets_mapping": True})
        ids = []
        for token, (start, end) in zip(encoding["input_ids"], encoding["offset_mapping"], strict=True):
            self._spans.append((len(self._texts), start, end))
            ids.append(token + len(self._spans) * _SHIFT)
        self._texts.append(text)
        encoding["input_ids"] = ids
        return encoding

    def encode(self, text: str, **options: Any) -> list[int]:
        """The ids of a text, traced."""
        ids: list[int] = self(text, **options)["input_ids"]
        return ids

    def convert_ids_to_tokens(self, ids: Sequence[int], **options: Any) -> Any:
        """The tokens of ids, traced or not."""
        return self._real.convert_ids_to_tokens(plain(ids), **options)

    def read(self, ids: Sequence[int]) -> tuple[str, list[tuple[int, int]]]:
        """The text that these ids stand for, and each one's characters in it.

        An id that no text was encoded to, as templates add for special tokens, stands for its token's name.
        """
        text, offsets = "", []
        place = 0
        while place < len(ids):
            number = self._text_of(ids[place])
            end = place
            while end < len(ids) and self._text_of(ids[end]) == number:
                end += 1
            if number is None:
                for token in self._real.convert_ids_to_tokens(plain(ids[place:end])):
                    offsets.append((len(text), len(text) + len(token)))
                    text += token
            else:
                spans = [self._spans[token // _SHIFT - 1][1:] for token in ids[place:end]]
                low, high = min(start for start, _ in spans), max(stop for _, stop in spans)
                offsets += [(len(text) + start - low, len(text) + stop - low) for start, stop in spans]
                text += self._texts[number][low:high]
            place = end
        return text, offsets

    def _text_of(self, token: int) -> int | None:
        return self._spans[token // _SHIFT - 1][0] if token >= _SHIFT else None


def plain(ids: Sequence[int]) -> list[int]:
    """Ids without their traces."""
    return [token % _SHIFT for token in ids]


def target_weights(
    text: str,
    offsets: Sequence[tuple[int, int]],
    calls: Sequence[ToolCall],
    names: frozenset[str],
    settings: Settings,
    *,
    tools: Sequence[Tool] = (),
    call_format: str | None = None,
) -> list[float]:
    """The weight of each token of a target with these calls (TL-Training, arXiv:2412.15495, section 3.2).

    Args:
        text: the target as the template wrote it.
        offsets: each token's characters in it.
        calls: those of the record.
        names: every tool of the example.
        settings: which variant holds.
        tools: those that are declared.
        call_format: how the template writes calls, where that is known.

    Raises:
        CallParseError: the calls are not in the text.
    """
    spans = locate(text, calls, tools, call_format or settings.known_format)
    if settings.key_variant == "reference":  # the released code counts what follows the call, the end token, too
        last = spans[-1]
        spans[-1] = ParsedCall(last.call, last.start, len(text), last.name_start, last.name_end)
    return weigh_tokens(text, offsets, spans, names, settings.w_max, settings.key_variant)


def locate(
    text: str, calls: Sequence[ToolCall], tools: Sequence[Tool] = (), call_format: str | None = None
) -> list[ParsedCall]:
    """Return where the calls stand in the text that a template has made of them.

    A template may write calls in a way that no format of ours reads: then a call is what stands, after the thought,
    between its name and the next one.

    Raises:
        CallParseError: a name is not in the text.
    """
    names = [call.name for call in calls]
    try:
        found = detect(text, tools, call_format)
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
