"""What a run of SKIntern takes: the tokens of its examples at the first step, whose prompts are the longest."""

from __future__ import annotations

from typing import Any


def lengths(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> list[int]:
    """Return the tokens of every training example, and say what becomes of the records."""
    from .workflow import training_rows

    rows = training_rows(model_args, data_args, training_args, finetuning_args)
    return [len(ids) for ids in rows["input_ids"]]
