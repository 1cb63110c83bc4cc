"""From tokens back to characters: which text each token of a target stands for, whatever template wrote it.

A template asks the tokenizer for ids, text by text, and puts them together. `TracingTokenizer` answers in its place
and remembers the texts, so that the target's text and offsets can be read from what the template makes of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import CallParseError
from ...toolcalls import ParsedCall, Tool, ToolCall, detect
from ...toolcalls.thoughts import split_thought
from ..key_tokens import weigh_tokens
from .examples import Settings


class TracingTokenizer:
    """A fast tokenizer that remembers what it has encoded; everything else is the tokenizer's own."""

    def __init__(self, tokenizer: Any) -> None:
        self._real = tokenizer
        self._encoded: list[_Encoded] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __call__(self, text: str, **options: Any) -> Any:
        encoding = self._real(text, **options)
        self._encoded.append(_Encoded(text, encoding["input_ids"], options))
        return encoding

    def encode(self, text: str, **options: Any) -> list[int]:
        """The ids of a text, remembered."""
        ids: list[int] = self(text, **options)["input_ids"]
        return ids

    def read(self, ids: Sequence[int]) -> tuple[str, list[tuple[int, int]]]:
        """The text that these ids stand for, and each one's characters in it.

        An id that no text was encoded to, as templates add for special tokens, stands for its token's name.
        """
        text, offsets = "", []
        place = 0
        ids = list(ids)
        while place < len(ids):
            found, at, count = self._source(ids, place)
            if found is None:
                (token,) = self._real.convert_ids_to_tokens([ids[place]])
                spans, written = [(0, len(token))], token
            else:
                every = found.offsets(self._real)[at : at + count]
                low, high = min(start for start, _ in every), max(end for _, end in every)
                spans, written = [(start - low, end - low) for start, end in every], found.text[low:high]
            offsets += [(len(text) + start, len(text) + end) for start, end in spans]
            text += written
            place += count
        return text, offsets

    def _source(self, ids: list[int], place: int) -> tuple[_Encoded | None, int, int]:
        """What was encoded to the ids from `place` on, where in it they begin, and how many they are."""
        best: tuple[_Encoded | None, int, int] = (None, 0, 1)
        for encoded in self._encoded:
            size = len(encoded.ids)
            if size and size > (best[2] if best[0] else 0) and encoded.ids == ids[place : place + size]:
                best = (encoded, 0, size)
        if best[0] is not None:
            return best
        rest = ids[place:]
        for encoded in self._encoded:  # a part of a text that was encoded whole
            if len(encoded.ids) > len(rest):
                at = encoded.find(rest)
                if at is not None:
                    return encoded, at, len(rest)
        return self._longest_part(rest)

    def _longest_part(self, ids: list[int]) -> tuple[_Encoded | None, int, int]:
        """The longest beginning of these ids within a text that was encoded whole; one id at least."""
        best: tuple[_Encoded | None, int, int] = (None, 0, 1)
        for encoded in self._encoded:
            at = encoded.find(ids[:1])
            while at is not None:
                count = 0
                while count < min(len(ids), len(encoded.ids) - at) and encoded.ids[at + count] == ids[count]:
                    count += 1
                if count > (best[2] if best[0] else 0):
                    best = (encoded, at, count)
                at = encoded.find(ids[:1], at + 1)
        return best


@dataclass
class _Encoded:
    """A text, its ids and how it was encoded."""

    text: str
    ids: list[int]
    options: dict[str, Any]
    _offsets: list[tuple[int, int]] | None = None

    def find(self, ids: list[int], start: int = 0) -> int | None:
        """Where these ids stand among the text's, from `start` on."""
        for at in range(start, len(self.ids) - len(ids) + 1):
            if self.ids[at] == ids[0] and self.ids[at : at + len(ids)] == ids:
                return at
        return None

    def offsets(self, tokenizer: Any) -> list[tuple[int, int]]:
        """Each token's characters in the text."""
        if self._offsets is None:
            encoding = tokenizer(self.text, **{**self.options, "return_offsets_mapping": True})
            self._offsets = list(encoding["offset_mapping"])
        return self._offsets


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
