"""Encodes one example by a template and a tokenizer exactly as upstream's supervised processor does."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llamafactory.data.processor import SupervisedDatasetProcessor
from llamafactory.data.template import TEMPLATES
from llamafactory.extras.constants import IGNORE_INDEX
from llamafactory.hparams import DataArguments
from transformers import AutoConfig, AutoProcessor, AutoTokenizer, PreTrainedTokenizerBase

from ...data.checks.audit import Encoded
from ...data.entries import Dialogue
from ...errors import DataError, OptionError
from ...paths import is_folder
from ...training.weighing import NOT_RENDERED, Weigher
from .fitting import fit_template, vocabulary_problem
from .records import row_of, words_of
from .weights import Taken, take_example


class ExampleEncoder:
    """Encodes examples, whole and cut, and counts their tokens.

    Args:
        model: folder (or cached name) with the tokenizer; no code of it is run.
        template: a name that upstream knows, ours included.
        cutoff_len: as in the YAML.
        options: more of the data options that decide what is learned (train_on_prompt, mask_history, ...).

    Raises:
        OptionError: an unknown template, no tokenizer there, or options that upstream refuses.
    """

    def __init__(self, model: str, template: str, cutoff_len: int, **options: Any) -> None:
        self.tokenizer = _tokenizer(model, template)
        self.words = words_of(template)
        parts = {"tokenizer": self.tokenizer, "processor": _media_processor(model)}
        try:
            self.processor = _processor(parts, template, cutoff_len, options)
        except (TypeError, ValueError) as error:
            raise OptionError(f"The data options do not work: {error}") from None
        self._vocabulary = _vocabulary(model)
        self._template = template

    def __call__(self, dialogue: Dialogue) -> Encoded:
        """Return the lengths of one example.

        Raises:
            DataError: upstream cannot render it with this template, or the model lacks a token of it.
        """
        taken = self.take(dialogue, None)
        assert taken.tagged is not None
        tagged = taken.tagged
        problem = vocabulary_problem(max(tagged.ids, default=-1), self._vocabulary, self._template)
        if problem is not None:
            raise DataError(problem)
        trained = sum(label != IGNORE_INDEX for label in tagged.labels)
        return Encoded(tagged.whole, len(tagged.ids), trained, tagged.misread)

    def take(self, dialogue: Dialogue, settings: Weigher | None) -> Taken:
        """Return what training makes of one example, by its own steps.

        Args:
            dialogue: the record by this encoder's `words`.
            settings: of a stage that weighs tokens; None for plain supervised training.

        Raises:
            DataError: upstream cannot render it with this template, or the stage cannot use it.
        """
        taken = take_example(self.processor, row_of(dialogue), settings)
        if taken.problem == NOT_RENDERED:
            raise DataError(
                f"the template cannot render it ({taken.why[:120]}); mend the record or use another template"
            )
        if taken.problem is not None:
            assert settings is not None  # all other problems are a weigher's
            raise DataError(settings.refusal(taken.problem))
        return taken


def _media_processor(model: str) -> Any:
    """Return what turns media into tokens, where the model has such a thing; upstream's loader decides alike."""
    try:
        found = AutoProcessor.from_pretrained(model, trust_remote_code=False)
    except Exception:  # a model of texts only raises whatever its kind of tokenizer leads to
        return None
    return found if "Processor" in type(found).__name__ else None


def _vocabulary(model: str) -> int | None:
    """Return how many tokens the model has; None where nothing says so."""
    try:
        config = AutoConfig.from_pretrained(model, trust_remote_code=False)
    except (OSError, ValueError, KeyError):
        return None
    size = getattr(config.get_text_config(), "vocab_size", None)
    return size if isinstance(size, int) else None


def _tokenizer(model: str, template: str) -> PreTrainedTokenizerBase:
    if template not in TEMPLATES:
        close = difflib.get_close_matches(template, TEMPLATES, n=3)
        hint = (
            f"did you mean {' or '.join(close)}?" if close else "llamafactory-cli lists its templates in its README."
        )
        raise OptionError(f'--template "{template}" is unknown; {hint}')
    try:
        return AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        where = "" if is_folder(Path(model)) else " (no such folder)"
        raise OptionError(
            f"--model {model}{where} holds no tokenizer that loads: {str(error).splitlines()[0]} "
            "Name a folder with tokenizer files."
        ) from None


def _processor(
    parts: Mapping[str, Any], template: str, cutoff_len: int, options: Mapping[str, Any]
) -> SupervisedDatasetProcessor:
    data_args = DataArguments(template=template, cutoff_len=cutoff_len, **options)
    return SupervisedDatasetProcessor(template=fit_template(parts, data_args), data_args=data_args, **parts)
