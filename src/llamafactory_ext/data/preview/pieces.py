"""The tokens of one encoded example as pieces of text, each with its loss weight and what that means.

It needs ids, weights and a tokenizer's way back to text, and knows neither templates nor LLaMA-Factory: weights of 0
and 1 from labels or those of TL-Training (arXiv:2412.15495, section 3.2) are shown alike.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

MASKED, SILENCED, DROPPED, ORDINARY, KEY = "masked", "unlearned", "dropped", "ordinary", "key"
# kind -> what the legend says
LEGEND = {
    MASKED: "masked: read, not learned",
    SILENCED: "unlearned: the record's own mark (loss: false, loss_mask)",
    DROPPED: "dropped call: its feedback reports an error (MAE)",
    ORDINARY: "learned, weight 1",
    KEY: "key token, weight above 1 (PKT)",
}
_UNFINISHED = "\ufffd"  # what bytes that are no whole character decode to
_LONGEST_CHARACTER = 16  # tokens; after so many unfinished ones the bytes are no text
Decode = Callable[[list[int]], str]


@dataclass(frozen=True)
class Weighed:
    """What training makes of one example.

    Attributes:
        ids: token ids, cut by cutoff_len.
        labels: what is learned in each token's place; read only where its weight is above 0.
        weights: of each token in the loss; 0 is masked.
        dropped: whether a token of weight 0 would be learned if its call were no error.
        whole: how many tokens there are without the cut.
        silenced: whether a token of weight 0 would be learned without the record's own marks; empty for nowhere.
    """

    ids: Sequence[int]
    labels: Sequence[int]
    weights: Sequence[float]
    dropped: Sequence[bool]
    whole: int
    silenced: Sequence[bool] = ()


@dataclass(frozen=True)
class Piece:
    """One token, or several that make up a character together.

    Attributes:
        learned_as: the text learned in its place where that is another one (some templates train the end of a turn
            in the place of the next turn's first token); "" for the text itself.
    """

    text: str
    ids: tuple[int, ...]
    weight: float
    kind: str
    special: bool = False
    learned_as: str = ""


@dataclass(frozen=True)
class Example:
    """One example as it is shown.

    Attributes:
        place: where its record stands in its file.
        mark: "tool" or "general"; "" for data without marks.
        cut: tokens that cutoff_len leaves out.
        problem: why it could not be encoded; it has no pieces then.
        lost: what of the record is not kept.
    """

    place: str
    mark: str = ""
    task: str = ""
    pieces: tuple[Piece, ...] = ()
    cut: int = 0
    problem: str = ""
    lost: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """Return tokens of each kind, in the order of the legend."""
        found: Counter[str] = Counter()
        for piece in self.pieces:
            found[piece.kind] += len(piece.ids)
        return {kind: found[kind] for kind in LEGEND if found[kind]}


def kind_of(weight: float, dropped: bool, silenced: bool = False) -> str:
    """Say what a token's weight means; key tokens are those that weigh more than the others."""
    if weight > 1:
        return KEY
    if weight > 0:
        return ORDINARY
    if silenced:
        return SILENCED
    return DROPPED if dropped else MASKED


def pieces_of(encoded: Weighed, decode: Decode, special: Collection[int]) -> tuple[Piece, ...]:
    """Return the pieces in order; their texts are those of the whole dialogue, whatever a token alone decodes to.

    Args:
        encoded: the example.
        decode: ids to text, special tokens included.
        special: ids of special tokens.
    """
    pieces = []
    for start, end, text in _texts(encoded.ids, decode):
        weight = max(encoded.weights[start:end])
        kind = kind_of(weight, any(encoded.dropped[start:end]), any(encoded.silenced[start:end]))
        ids, labels = tuple(encoded.ids[start:end]), list(encoded.labels[start:end])
        learned_as = decode(labels) if weight > 0 and labels != list(ids) else ""
        pieces.append(Piece(text, ids, weight, kind, ids[0] in special, learned_as))
    return tuple(pieces)


def _texts(ids: Sequence[int], decode: Decode) -> Iterator[tuple[int, int, str]]:
    """Return (start, end, text) of tokens.

    Decoded behind their forerunner, which keeps blanks at the front of words.
    """
    context = start = 0
    for end in range(1, len(ids) + 1):
        before, whole = decode(list(ids[context:start])), decode(list(ids[context:end]))
        if whole.endswith(_UNFINISHED) and end < len(ids) and end - start < _LONGEST_CHARACTER:
            continue
        yield start, end, whole[len(before) :]
        context, start = start, end


def visible(text: str) -> str:
    """Return the text with everything that would steer a terminal or hide from the eye written out.

    Line feeds stay.
    """
    return "".join(char if char == "\n" else _shown(char) for char in text)


def _shown(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)  # control pictures
    # Cc and Cf: other controls, marks of direction and of no width; surrogates cannot be written at all.
    hidden = unicodedata.category(char) in ("Cc", "Cf", "Cs") and char not in "\u200c\u200d"
    return f"<U+{code:04X}>" if hidden else char
