"""The texts that templates ask a tokenizer for: encoded with little overhead, and read back from ids.

A template asks the tokenizer for ids, text by text, and puts them together. `TracingTokenizer` answers in its place
and remembers the texts, so that a turn's text and offsets can be read from what the template makes of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

_MOST_TOKENS = 300_000  # remembered at a time; some 30 MB
_LONG = 2_000  # characters; offsets of longer texts are made only where they are asked for
# What decides which ids a text has, and which text ids have; a tokenizer that overrides it is asked itself.
_METHODS = ("__call__", "encode", "_encode_plus", "_batch_encode_plus", "decode", "_decode")
_OWN = tuple(f"transformers.tokenization_utils_{part}" for part in ("base", "tokenizers", "fast"))
_KEEPING = ("Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")  # a Split removes nothing


_SECOND = itemgetter(1)
Offsets = list[tuple[int, int]]


class Piece:
    """A text and its ids.

    Args:
        text: any.
        ids: its own, without special tokens around them.
        offsets: each token's characters in the text, or how to find them.
        exact: whether decoding the ids is known to give the text.
    """

    __slots__ = ("_offsets", "exact", "ids", "text")

    def __init__(
        self, text: str, ids: list[int], offsets: Offsets | Callable[[], Offsets], *, exact: bool = False
    ) -> None:
        self.text, self.ids, self.exact = text, ids, exact
        self._offsets = offsets

    def find(self, ids: list[int], start: int = 0) -> int | None:
        """Return where these ids stand among the text's, from `start` on."""
        for at in range(start, len(self.ids) - len(ids) + 1):
            if self.ids[at] == ids[0] and self.ids[at : at + len(ids)] == ids:
                return at
        return None

    def offsets(self) -> Offsets:
        """Return each token's characters in the text."""
        if not isinstance(self._offsets, list):
            self._offsets = self._offsets()
        return self._offsets


class Pieces:
    """Encodes texts as the tokenizer does; those that come again, such as tools and marks, are encoded once.

    Made anew for every batch of examples: a tokenizer may be given tokens in between.

    Attributes:
        fast: whether the tokenizer's backend can be asked; else the tokenizer has to be asked itself.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._backend = backend = _backend_of(tokenizer)
        self.fast = self._backend is not None
        self._known: dict[str, Piece] = {}
        self._tokens = 0
        self._specials: dict[str, Any] = {}
        added = {} if backend is None else backend.get_added_tokens_decoder()
        self._added = {token: added[token].content for token in added}
        self._exact = backend is not None and _keeps_text(tokenizer, backend, added.values())
        # Normalising may write characters outside ASCII in another way.
        self._ascii_only = backend is not None and backend.normalizer is not None

    def encode(self, text: str, names: Collection[str] = ()) -> Piece | None:
        """Return a text with its ids, without special tokens around it; None if the tokenizer has to be asked itself.

        Args:
            text: any.
            names: of tools that are called: of a text that names one, the offsets will be asked for.
        """
        if (piece := self._known.get(text)) is not None:
            return piece
        backend = self._backend
        if backend is None or backend.truncation is not None or backend.padding is not None:
            return None
        try:
            if len(text) < _LONG and any(name in text for name in names):
                encoding = backend.encode(text, add_special_tokens=False)
                offsets: Any = encoding.offsets
            else:
                (encoding,) = backend.encode_batch_fast([text], add_special_tokens=False)
                offsets = partial(_offsets_of, backend, text)
        except (TypeError, ValueError):  # lone surrogates: the tokenizer says it in its own words
            return None
        piece = Piece(text, encoding.ids, offsets, exact=self._exact and (not self._ascii_only or text.isascii()))
        self._tokens += len(piece.ids)
        if self._tokens > _MOST_TOKENS:
            self._known.clear()
            self._tokens = len(piece.ids)
        self._known[text] = piece
        return piece

    def special(self, name: str) -> Any:
        """Return one of the tokenizer's attributes that name a special token, looked up once."""
        if name not in self._specials:
            self._specials[name] = getattr(self._tokenizer, name)
        return self._specials[name]

    def added(self, token: int) -> str | None:
        """Return the text that an added token is decoded to; None for another id, or where that is not known."""
        return self._added.get(token) if self._exact else None


class TracingTokenizer:
    """A tokenizer that remembers what it has encoded; everything else is the tokenizer's own.

    Args:
        tokenizer: of transformers.
        pieces: encodes for it; a new one if there is none.
        names: as in `Pieces.encode`.

    Attributes:
        lacks_token: whether it was asked for the id of a token that it does not know.
    """

    def __init__(self, tokenizer: Any, pieces: Pieces | None = None, names: Collection[str] = ()) -> None:
        self._real, self._names = tokenizer, names
        self._pieces = Pieces(tokenizer) if pieces is None else pieces
        self.lacks_token = False
        self._encoded: list[Piece] = []
        self._starts: dict[int, list[Piece]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    @property
    def bos_token_id(self) -> Any:
        """The tokenizer's own."""
        return self._pieces.special("bos_token_id")

    @property
    def eos_token_id(self) -> Any:
        """The tokenizer's own."""
        return self._pieces.special("eos_token_id")

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """Return the tokenizer's own."""
        found = self._real.convert_tokens_to_ids(tokens)
        self.lacks_token |= found is None or (isinstance(found, list) and None in found)
        return found

    def __call__(self, text: str, **options: Any) -> Any:
        encoding = self._real(text, **options)
        known = encoding.get("offset_mapping")
        offsets = partial(self._offsets_of, text, options) if known is None else list(known)
        self._remember(Piece(text, encoding["input_ids"], offsets))
        return encoding

    def encode(self, text: str, **options: Any) -> list[int]:
        """Return the ids of a text, remembered."""
        piece = self._pieces.encode(text, self._names) if options == {"add_special_tokens": False} else None
        if piece is None:
            ids: list[int] = self(text, **options)["input_ids"]
            return ids
        self._remember(piece)
        return piece.ids.copy()

    def read(self, ids: Sequence[int]) -> tuple[str, Offsets]:
        """Return the text that these ids stand for, and each one's characters in it.

        An id that no text was encoded to, as templates add for special tokens, stands for its token's name.
        """
        text, place = "", 0
        offsets: Offsets = []
        ids = list(ids)
        while place < len(ids):
            found, at, count = self._source(ids, place)
            if found is None:
                (token,) = self._real.convert_ids_to_tokens([ids[place]])
                spans, written, low = [(0, len(token))], token, 0
            else:
                spans = found.offsets()[at : at + count]
                low, high = min(spans)[0], max(map(_SECOND, spans))
                written = found.text[low:high]
            shift = len(text) - low
            offsets += [(start + shift, end + shift) for start, end in spans] if shift else spans
            text += written
            place += count
        return text, offsets

    def text_of(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens as they are; whole texts that are decoded exactly are not decoded."""
        texts: list[str] = []
        place = 0
        ids = list(ids)
        while place < len(ids):
            piece = self._whole(ids, place)
            text = self._pieces.added(ids[place]) if piece is None else piece.text
            if text is None or not (piece is None or piece.exact):
                return str(self._real.decode(ids, skip_special_tokens=False))
            texts.append(text)
            place += 1 if piece is None else len(piece.ids)
        return "".join(texts)

    def _remember(self, piece: Piece) -> None:
        self._encoded.append(piece)
        if piece.ids:
            self._starts.setdefault(piece.ids[0], []).append(piece)

    def _offsets_of(self, text: str, options: dict[str, Any]) -> Offsets:
        return list(self._real(text, **{**options, "return_offsets_mapping": True})["offset_mapping"])

    def _whole(self, ids: list[int], place: int) -> Piece | None:
        """Return the longest text all of whose ids stand at `place`."""
        best: Piece | None = None
        for piece in self._starts.get(ids[place], ()):
            size = len(piece.ids)
            if (best is None or size > len(best.ids)) and piece.ids == ids[place : place + size]:
                best = piece
        return best

    def _source(self, ids: list[int], place: int) -> tuple[Piece | None, int, int]:
        """Return what was encoded to the ids from `place` on, where in it they begin, and how many they are."""
        whole = self._whole(ids, place)
        if whole is not None:
            return whole, 0, len(whole.ids)
        rest = ids[place:]
        for piece in self._encoded:  # a part of a text that was encoded whole
            if len(piece.ids) > len(rest):
                at = piece.find(rest)
                if at is not None:
                    return piece, at, len(rest)
        return self._longest_part(rest)

    def _longest_part(self, ids: list[int]) -> tuple[Piece | None, int, int]:
        """Return the longest beginning of these ids within a text that was encoded whole; one id at least."""
        best: tuple[Piece | None, int, int] = (None, 0, 1)
        for piece in self._encoded:
            at = piece.find(ids[:1])
            while at is not None:
                count = 0
                while count < min(len(ids), len(piece.ids) - at) and piece.ids[at + count] == ids[count]:
                    count += 1
                if count > (best[2] if best[0] else 0):
                    best = (piece, at, count)
                at = piece.find(ids[:1], at + 1)
        return best


def _backend_of(tokenizer: Any) -> Tokenizer | None:
    """Return the backend that gives the same ids as the tokenizer; None if there is none, or if it may not."""
    if not getattr(tokenizer, "is_fast", False):
        return None
    kind = type(tokenizer)
    own = [getattr(kind, name).__module__ for name in _METHODS if hasattr(kind, name)]
    if not {*own} <= {*_OWN} or any(name in vars(tokenizer) for name in _METHODS):
        return None
    backend = tokenizer.backend_tokenizer
    if not isinstance(backend, Tokenizer) or getattr(backend.model, "dropout", None):
        return None
    tokenizer.encode("a", add_special_tokens=False)  # sets the backend to what every call asks of it
    return backend


def _offsets_of(backend: Tokenizer, text: str) -> Offsets:
    return list(backend.encode(text, add_special_tokens=False).offsets)


def _keeps_text(tokenizer: Any, backend: Tokenizer, added: Collection[Any]) -> bool:
    """Tell whether decoding a text's ids gives the text: a byte-level BPE that knows every byte and drops nothing.

    A text outside ASCII may be written otherwise if the backend normalises.
    """
    if tokenizer.clean_up_tokenization_spaces or _kind(backend.decoder) != "ByteLevel":
        return False
    if backend.normalizer is not None and _kind(backend.normalizer) != "NFC":
        return False
    model = backend.model
    if type(model).__name__ != "BPE" or model.continuing_subword_prefix or model.end_of_word_suffix:
        return False
    if not _splits_only(_state(backend.pre_tokenizer)):
        return False
    if any(backend.token_to_id(byte) is None for byte in ByteLevel.alphabet()):
        return False
    return not any(token.lstrip or token.rstrip or not _is_shown(backend, token.content) for token in added)


def _splits_only(state: dict[str, Any]) -> bool:
    """Tell whether a step before the model keeps every character and ends with bytes."""
    steps = state["pretokenizers"] if state["type"] == "Sequence" else [state]
    *before, last = steps or [{"type": None}]
    if last["type"] != "ByteLevel" or last["add_prefix_space"]:
        return False
    return all(
        step["type"] == "Digits" or (step["type"] == "Split" and step["behavior"] in _KEEPING) for step in before
    )


def _is_shown(backend: Tokenizer, content: str) -> bool:
    """Tell whether an added token is decoded as its text."""
    return bool(backend.decode([backend.token_to_id(content)], skip_special_tokens=False) == content)


def _kind(part: Any) -> Any:
    return _state(part)["type"]


def _state(part: Any) -> dict[str, Any]:
    """Return a part of a tokenizer as its JSON; with type None if there is none."""
    return {"type": None} if part is None else json.loads(part.__getstate__())
