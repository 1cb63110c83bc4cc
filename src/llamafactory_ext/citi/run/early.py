"""What can be known of a citi run from the model's configuration alone, before its weights are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from ...checkpoint.model_folder import output_problem
from ...errors import ExtError
from ..importance import linear_components
from ..importance_file import Importance
from ..phases import phase_table
from ..scoring import shapes_of
from ..selection import selected_counts
from .adapters import ratios


def early_problems(model: nn.Module | None, finetuning_args: Any) -> list[str]:
    """Return a sentence for each share that selects nothing, and for an importance file that does not fit.

    Args:
        model: on the meta device; None where its configuration does not tell.
        finetuning_args: upstream's group of the options.
    """
    problems = _save_problems(finetuning_args.citi_importance_save)
    shares = ratios(finetuning_args, phase_table(finetuning_args))
    path = finetuning_args.citi_importance_load
    try:
        if model is not None:
            selected_counts(len(linear_components(model)), *shares)
    except ExtError as error:
        problems.append(error.message.rstrip("."))
    try:
        if path and Path(path).is_file():
            importance = Importance.load(Path(path))
            if model is not None:
                importance.check(Path(path), shapes_of(model))
    except ExtError as error:
        problems.append(f"citi_importance_load: {error.message.rstrip('.')}")
    return problems


def _save_problems(save: str | None) -> list[str]:
    if not save:
        return []
    unwritable = output_problem(str(Path(save).parent))
    problems = [unwritable.replace("output_dir=", "citi_importance_save: ")] if unwritable else []
    if Path(save).is_dir():
        problems.append(f"citi_importance_save={save} is a folder; name a file in it, such as {save}/importance.json")
    return problems
