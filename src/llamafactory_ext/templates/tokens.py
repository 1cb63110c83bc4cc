"""Token ids of a rendered dialogue, the same as if its whole text were tokenised at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from ..errors import OptionError

_PROBE = "a"
_LEAST_TOKENS = 10  # transformers' placeholders have up to 6 beside their special tokens


def tokenizer_problem(tokenizer: Any) -> str | None:
    """Name what keeps a tokenizer from writing text; None where it can.

    Some versions of transformers (5.5.4 among them) make an empty tokenizer of the model's class where a folder has no
    tokenizer files. It encodes every text to nothing, without a word.
    """
    vocabulary = set(tokenizer.get_vocab()) - set(tokenizer.get_added_vocab()) - set(tokenizer.all_special_tokens)
    if len(vocabulary) >= _LEAST_TOKENS:
        return None
    return (
        f"{tokenizer.name_or_path or type(tokenizer).__name__} has no tokenizer files, or empty ones; copy the files "
        "of the model's tokenizer into that folder"
    )


def encode_pieces(tokenizer: Any, pieces: Sequence[str]) -> list[list[int]]:
    """Return the token ids of each piece.

    A chat template gives one text, and a tokenizer may join characters over the border of two pieces, swallow white
    space behind a special token or write a blank before a piece that is encoded alone. So the whole text is encoded
    once, and each token goes to the piece in which its first character stands.

    Args:
        tokenizer: a fast tokenizer of transformers.
        pieces: texts of consecutive turns.
    """
    if not tokenizer.is_fast:
        raise OptionError(
            f"The tokenizer {type(tokenizer).__name__} gives no character positions; set use_fast_tokenizer: true"
        )
    encoding = tokenizer("".join(pieces), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ends = list(accumulate(map(len, pieces)))
    ids: list[list[int]] = [[] for _ in pieces]
    piece = 0
    for token, (start, end) in zip(encoding["input_ids"], encoding["offset_mapping"], strict=True):
        # A token of blanks may be given an empty range at its end (byte-level tokenizers that trim offsets).
        place = start if end > start else max(start - 1, 0)
        while place >= ends[piece]:
            piece += 1
        ids[piece].append(token)
    return ids


def prepends_blank(tokenizer: Any) -> bool:
    """Tell whether the tokenizer writes a blank behind each special token, as older SentencePiece conversions do.

    Mistral's published text has that blank in it; here it would become two, which the model has never seen.
    """
    if tokenizer.bos_token is None:
        return False
    ids = tokenizer(tokenizer.bos_token + _PROBE, add_special_tokens=False, verbose=False)["input_ids"]
    tokens = tokenizer.convert_ids_to_tokens(ids)
    return len(tokens) > 1 and tokens[1].startswith("▁")
