"""Encodes examples for `data preview` by the processors that training uses, with the weight of each token."""

from __future__ import annotations

from typing import Any

from llamafactory.extras.constants import IGNORE_INDEX

from ...data.entries import Dialogue
from ...data.preview.pieces import Weighed
from ...data.preview.request import Request
from ...errors import DataError, OptionError
from ...options.values import check_values
from ...tl.sft.examples import ADVICE, Settings
from ...tl.sft.findings import Findings
from ...tl.sft.options import RULES
from ...training.token_weights import SCALE, WEIGHTS_COLUMN
from .encoding import ExampleEncoder, messages_of
from .requests import request_weights
from .weights import NOTE_COLUMN, WeighedProcessor


class WeighingEncoder:
    """Supervised fine-tuning weighs what it learns 1; stage tl_sft weighs it as its options say.

    Raises:
        OptionError: no such template or tokenizer, or options that do not work.
    """

    def __init__(self, request: Request) -> None:
        self._encoder = ExampleEncoder(request.model, request.template, request.cutoff_len, **request.options)
        self._tokenizer = self._encoder.tokenizer
        added = self._tokenizer.added_tokens_decoder.items()
        self.special = frozenset(number for number, token in added if token.special)
        self._settings = _settings(request) if request.stage == "tl_sft" else None
        if self._settings is not None and self._settings.use_pkt and not self._tokenizer.is_fast:
            raise OptionError(
                f"The tokenizer {type(self._tokenizer).__name__} gives no character offsets, by which key tokens are "
                "found; use a model with a fast one, or set tl_use_pkt: false in the YAML"
            )

    def decode(self, ids: list[int]) -> str:
        """The text of ids, special tokens and blanks as they are."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def weigh(self, dialogue: Dialogue) -> Weighed:
        """Ids and weights of one example.

        Raises:
            DataError: the template cannot render it, or stage tl_sft cannot use it.
        """
        ids, labels, whole = self._encoder.encode(dialogue)
        learned = [label != IGNORE_INDEX for label in labels]
        if self._settings is None:
            return Weighed(ids, labels, list(map(float, learned)), [False] * len(ids), whole)
        codes = _codes(self._encoder.processor, self._settings, dialogue)
        dropped = [was and not code for was, code in zip(learned, codes, strict=True)]
        return Weighed(ids, labels, [code / SCALE for code in codes], dropped, whole)


def _settings(request: Request) -> Settings:
    values, problems = check_values(request.tl_options, RULES)
    if problems:
        raise OptionError.listing("These options do not work:", problems)
    return Settings(**{name.removeprefix("tl_"): value for name, value in values.items() if name != "tl_skip_bad"})


def _codes(plain: Any, settings: Settings, dialogue: Dialogue) -> list[int]:
    """The codes of the weights that `tl_sft` gives the tokens of one example."""
    processor = WeighedProcessor(
        template=plain.template,
        tokenizer=plain.tokenizer,
        processor=None,
        data_args=request_weights(plain.data_args, settings),
    )
    messages = messages_of(dialogue)
    example = {"_prompt": messages[:-1], "_response": messages[-1:], "_system": dialogue.system}
    media = dict.fromkeys(("_images", "_videos", "_audios"))
    rows = processor.preprocess_dataset(
        {name: [value] for name, value in (example | {"_tools": dialogue.tools} | media).items()}
    )
    found = Findings.from_texts(filter(None, rows[NOTE_COLUMN]), settings)
    for problem in found.problems:
        raise DataError(f"tl_sft cannot use it: {problem}; {ADVICE[problem]}")
    codes: list[int] = rows[WEIGHTS_COLUMN][0]
    return codes
