"""Encodes examples for `data preview` by the processors that training uses, with the weight of each token."""

from __future__ import annotations

from dataclasses import replace

from llamafactory.extras.constants import IGNORE_INDEX

from ...data.entries import Dialogue
from ...data.preview.pieces import Weighed
from ...data.preview.request import Request
from ...errors import OptionError
from ...methods import load, row_of
from ...training.token_weights import SCALE
from .encoding import ExampleEncoder


class WeighingEncoder:
    """Supervised fine-tuning weighs what it learns 1; a stage with a weigher weighs it as its options say.

    Raises:
        OptionError: no such template or tokenizer, or options that do not work.
    """

    def __init__(self, request: Request) -> None:
        self._encoder = ExampleEncoder(request.model, request.template, request.cutoff_len, **request.options)
        self._tokenizer, self.words = self._encoder.tokenizer, self._encoder.words
        added = self._tokenizer.added_tokens_decoder.items()
        self.special = frozenset(number for number, token in added if token.special)
        row = row_of(request.stage, "stage")
        self._settings = load(row.weigher)(request.tl_options) if row is not None and row.weigher else None
        if self._settings is not None and self._settings.weighs_tokens and not self._tokenizer.is_fast:
            raise OptionError(
                f"The tokenizer {type(self._tokenizer).__name__} gives no character offsets, by which key tokens are "
                "found; use a model with a fast one, or set tl_use_pkt: false in the YAML"
            )

    def decode(self, ids: list[int]) -> str:
        """Return the text of ids, special tokens and blanks as they are."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def weigh(self, dialogue: Dialogue) -> Weighed:
        """Return ids and weights of one example.

        Raises:
            DataError: the template cannot render it, or the stage cannot use it.
        """
        plain = self._encoder.take(replace(dialogue, silent=frozenset()), None).tagged
        silent = self._encoder.take(dialogue, None).tagged if dialogue.silent else plain
        assert plain is not None
        assert silent is not None
        learned = [label != IGNORE_INDEX for label in plain.labels]
        silenced = [was and label == IGNORE_INDEX for was, label in zip(learned, silent.labels, strict=True)]
        if self._settings is None:
            weights = [float(label != IGNORE_INDEX) for label in silent.labels]
            return Weighed(plain.ids, plain.labels, weights, [False] * len(weights), plain.whole, silenced)
        weighed = self._encoder.take(dialogue, self._settings).tagged
        assert weighed is not None
        codes = weighed.codes or []
        dropped = [was and not code and not own for was, code, own in zip(learned, codes, silenced, strict=True)]
        return Weighed(plain.ids, plain.labels, [code / SCALE for code in codes], dropped, plain.whole, silenced)
