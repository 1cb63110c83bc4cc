"""Weights of the tokens that decide which tool is called (PKT of TL-Training, arXiv:2412.15495, section 3.2).

For a call t_i of tokens t_i^0 ... t_i^l with the key tokens K_i and the others NK_i:

    w_i^m = CLIP(|NK_i| / |K_i|, 1, w_max) for key tokens, 1 for all others.

Key tokens are found by characters, so that any tokenizer with offsets and any template will do: they are the tokens
that hold the first character of the tool's name, and the first character at which the name departs from another tool's
name with the same beginning. Where a name is the beginning of another, that is the character after it. If they share
no whole token, the departing character is in the first token and adds none, which is the paper's condition. A
character of several tokens (byte-level ones) makes them all key tokens. The released code compares the tokens of the
names instead; both agree if the tokenizer splits the two names alike up to the place where they depart.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from llamafactory_ext.errors import CallParseError, DataError, OptionError
from llamafactory_ext.toolcalls import ParsedCall, Tool, ToolCall, detect

VARIANTS = ("paper", "reference")

# Texts of the tokens that the released code counts as the end of a parameter's value, white space apart.
_CLOSING = re.compile(r"""\(?\)_?|'{1,2}\)|(?:""|[.)])?"\)|',""")
Span = tuple[int, int]


def key_token_weights(
    name: str, other_names: Collection[str], call: str, tokenizer: Any, w_max: float = 9.0, variant: str = "paper"
) -> list[float]:
    """Return the weight of each token of one call.

    Args:
        name: the called tool.
        other_names: the other tools of the example; the name itself and empty names among them do not count.
        call: the text of the call, in any format of `toolcalls`; it may be cut off after the name.
        tokenizer: a fast tokenizer of transformers.
        w_max: largest weight, >= 1.
        variant: "paper", or "reference" for the released code, in whose |NK_i| the tokens that close a parameter's
            value (such as `',` and `)`) do not count; it takes one off if there are none. It also counts the
            end-of-sequence token, which a call's text lacks; `weigh_tokens` does so with a span up to its end.

    Returns:
        As many weights, >= 1, as `tokenizer(call, add_special_tokens=False)` has tokens.

    Raises:
        DataError: the call does not hold the name.
        OptionError: w_max < 1, no such variant, or a tokenizer without offsets.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise OptionError(
            f"{type(tokenizer).__name__} gives no character offsets, by which key tokens are found; use a fast one."
        )
    start, end = _find_name(name, call)
    whole = ParsedCall(ToolCall(name), 0, len(call), start, end)
    offsets = tokenizer(call, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return weigh_tokens(call, offsets, [whole], other_names, w_max, variant)


def weigh_tokens(
    text: str,
    offsets: Sequence[Span],
    calls: Sequence[ParsedCall],
    names: Collection[str],
    w_max: float = 9.0,
    variant: str = "paper",
) -> list[float]:
    """Return the weight of each token of a text that holds any number of calls; each call is weighed for itself.

    Weigh the whole text first and cut the weights with the tokens: a text that was cut before has fewer tokens that
    are no key tokens, hence other weights.

    Args:
        text: the final text, as the template made it.
        offsets: (start, end) in `text` of each token, in characters; empty for special tokens, which weigh 1.
        calls: with spans in `text`. The tokens of a call are those with a character in `text[start:end]`; a token of
            two calls takes the larger weight.
        names: all tools of the example, or all others.
        w_max: largest weight, >= 1.
        variant: as in `key_token_weights`.

    Returns:
        As many weights, >= 1, as there are offsets; 1 for all tokens if there are no calls.

    Raises:
        OptionError: w_max < 1 or no such variant.
    """
    if not w_max >= 1:
        raise OptionError(f"The largest weight of a key token is {w_max}; choose 1 or more.")
    if variant not in VARIANTS:
        raise OptionError(f"There is no key token variant {variant!r}; choose one of {', '.join(VARIANTS)}.")
    weights = [1.0] * len(offsets)
    differences, tokens_of = _differences_of(frozenset(names)), _TokensOf(offsets)
    for call in calls:
        own = tokens_of(call.start, call.end)
        places = _key_places(text, call, differences)
        near = [token for token in own if places and offsets[token][0] <= places[-1] and places[0] < offsets[token][1]]
        keys = [token for token in near if any(offsets[token][0] <= at < offsets[token][1] for at in places)]
        if keys:
            others = set(own).difference(keys)
            if variant == "reference":
                closing = [token for token in own if _CLOSING.fullmatch(text[slice(*offsets[token])].strip())]
                others.difference_update(closing or own[-1:])
            weight = min(max(len(others) / len(keys), 1.0), w_max)
            for token in keys:
                weights[token] = max(weights[token], weight)
    return weights


def key_characters(text: str, call: ParsedCall, names: Collection[str]) -> list[int]:
    """Return where the key tokens of a call are, in order: its name's first character, each first difference.

    Names that differ from the first character on add nothing; nor does a name that the call ends with.
    """
    return _key_places(text, call, _differences_of(frozenset(names)))


def _key_places(text: str, call: ParsedCall, differences: _Differences) -> list[int]:
    name = text[call.name_start : call.name_end]
    lengths = [0]
    following = differences.behind(name[:1])
    for length in range(1, len(name) + 1):
        next_ones = following.get(name[:length])
        if next_ones is None:  # no other name begins so
            break
        if next_ones - {name[length : length + 1]}:
            lengths.append(length)
    return [call.name_start + length for length in lengths if call.name_start + length < call.end]


class _Differences:
    """What follows each beginning of names: the next characters, and the empty text where a name ends.

    Made for the names that begin with one character when these are asked for.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names: dict[str, list[str]] = {}
        for name in names:
            self._names.setdefault(name[:1], []).append(name)
        self._found: dict[str, dict[str, set[str]]] = {}

    def behind(self, first: str) -> Mapping[str, set[str]]:
        """Return the next characters behind each beginning that begins with `first`."""
        if first not in self._found:
            found = self._found[first] = {}
            for name in self._names.get(first, ()):
                for length in range(1, len(name) + 1):
                    found.setdefault(name[:length], set()).add(name[length : length + 1])
        return self._found[first]


@lru_cache(maxsize=64)
def _differences_of(names: frozenset[str]) -> _Differences:
    return _Differences(names)


class _TokensOf:
    """The tokens with a character in a span, in time that does not grow with the text.

    Args:
        offsets: as `weigh_tokens` takes them. Where they do not ascend, all are looked at.
    """

    def __init__(self, offsets: Sequence[Span]) -> None:
        self._offsets = offsets
        self._tokens = [token for token, (low, high) in enumerate(offsets) if low < high]
        self._lows = [offsets[token][0] for token in self._tokens]
        self._highs = [offsets[token][1] for token in self._tokens]
        self._ascend = all(ends == sorted(ends) for ends in (self._lows, self._highs))

    def __call__(self, first: int, end: int) -> list[int]:
        if self._ascend:
            return self._tokens[bisect_right(self._highs, first) : bisect_left(self._lows, end)]
        return [token for token in self._tokens if self._offsets[token][0] < end and first < self._offsets[token][1]]


def _find_name(name: str, call: str) -> Span:
    """Return where the call states the tool's name: as its format says, or else as the first whole word."""
    if not name:
        raise DataError("A tool call has no name; without one there are no key tokens.")
    with suppress(CallParseError):
        for one in detect(call, [Tool(name)]):
            if call[one.name_start : one.name_end] == name:
                return one.name_start, one.name_end
    word = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", call)
    if word is None:
        raise DataError(f"The call {call[:60]!a} does not hold the name {name!a}; give the call's own tool.")
    return word.span()
