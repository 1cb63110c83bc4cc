"""Fits a template to the model's tokenizer and processor, and says when the model lacks tokens of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from llamafactory.data import get_template_and_fix_tokenizer
from llamafactory.data.mm_plugin import get_mm_plugin
from llamafactory.model import load_config

from ...errors import DataError, OptionError
from ...templates.tokens import tokenizer_problem


def fit_template(tokenizers: Mapping[str, Any], data_args: Any) -> Any:
    """Return upstream's template; one for media works on texts alone where the model has no processor for them.

    Args:
        tokenizers: "tokenizer", whose special tokens upstream completes, and "processor", or None.
        data_args: upstream's group of the options.

    Raises:
        OptionError: a tokenizer without a vocabulary.
    """
    if problem := tokenizer_problem(tokenizers["tokenizer"]):
        raise OptionError(f"{problem}.")
    template = get_template_and_fix_tokenizer(tokenizers["tokenizer"], data_args)
    if tokenizers.get("processor") is None:
        template = copy.copy(template)
        template.mm_plugin = get_mm_plugin("base")
    return template


def vocabulary_problem(highest_id: int, vocabulary: int | None, template: str | None) -> str | None:
    """Say why the model cannot read the data, in words: a token beyond its vocabulary; None if it can."""
    if vocabulary is None or highest_id < vocabulary:
        return None
    return (
        f"template {template} writes the token {highest_id}, but the model has {vocabulary} tokens; set "
        "resize_vocab: true, or use the model's own template"
    )


def check_vocabulary(highest_id: int, model_args: Any, template: str | None) -> None:
    """Make sure that the model has every token of the data, before it is loaded.

    Raises:
        DataError: it lacks one.
    """
    if model_args.resize_vocab:
        return
    problem = vocabulary_problem(highest_id, _vocabulary(model_args), template)
    if problem is not None:
        raise DataError(problem)


def untrained_rows(highest_id: int, model_args: Any, template: str | None, method: str) -> str | None:
    """Say that a frozen base leaves the rows of `resize_vocab` as they are; None without any.

    Args:
        highest_id: of the data.
        model_args: upstream's group of the options.
        template: its name.
        method: that freezes the base.
    """
    size = _vocabulary(model_args)
    if not model_args.resize_vocab or size is None or highest_id < size:
        return None
    return (
        f"resize_vocab: template {template} writes tokens from {size:,} on, for which the model gets new rows. "
        f"{method} trains no embeddings: these rows keep the values that they are drawn with, and only the "
        "adapters learn what the tokens mean. To learn the rows too, train the base first with stage: sft, "
        "finetuning_type: lora, additional_target: embed_tokens,lm_head and resize_vocab: true, export it, and name "
        "the export as model_name_or_path; or use the model's own template."
    )


def _vocabulary(model_args: Any) -> int | None:
    size = getattr(load_config(model_args).get_text_config(), "vocab_size", None)
    return size if isinstance(size, int) else None
