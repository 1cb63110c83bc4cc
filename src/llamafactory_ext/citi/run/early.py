"""What can be known of a citi run from the model's configuration alone, before its weights are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ...checkpoint.model_folder import output_problem
from ...errors import ExtError, OptionError
from ...families import family_of, standing
from ...training.quantized import LINEAR, stored_quantization
from ...training.skeleton import is_own_code
from ..conflicts import quantized_score_problems
from ..importance import linear_components
from ..importance_file import Importance
from ..phases import phase_table
from ..scoring import shapes_of
from ..selection import selected_counts
from ..trial import trial_of
from .adapters import ratios


def early_problems(model: nn.Module | None, finetuning_args: Any) -> list[str]:
    """Return a sentence for a share that selects nothing, a file that does not fit, an adapter without export.

    Args:
        model: on the meta device; None where its configuration does not tell.
        finetuning_args: upstream's group of the options.
    """
    problems = _save_problems(finetuning_args.citi_importance_save)
    if model is not None:
        phases = [phase.name for phase in phase_table(finetuning_args) if "backbone" in phase.trains]
        found = (export_problem(model, finetuning_args), quantized_problem(model.config, phases))
        problems += [problem for problem in found if problem]
        if stored_quantization(model.config) is not None:
            problems += quantized_score_problems(finetuning_args)
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
            if (problem := importance.score_problem(Path(path), finetuning_args.citi_importance_score)) is not None:
                problems.append(problem.rstrip("."))
            if model is not None:
                importance.check(Path(path), shapes_of(model))
    except ExtError as error:
        problems.append(f"citi_importance_load: {error.message.rstrip('.')}")
    return problems or _trial_problems(model)


def _trial_problems(model: nn.Module | None) -> list[str]:
    """Say why a tiny model of a family's configuration cannot be trained.

    Of other architectures too little is known to refuse them for it.
    """
    config: Any = getattr(model, "config", None)
    if config is None or family_of(config.model_type) is None:
        return []
    if is_own_code(config) or stored_quantization(config) is not None:
        return []
    problem = trial_of(config).problem
    return [f"{config.model_type}: {problem}; correct its config.json, or get the model again"] if problem else []


def export_problem(base: Any, args: Any) -> str | None:
    """Say why what a run trains could not be exported, where it is to be; None where it can.

    What can be merged gives a model of the base's own type, whatever that is.

    Args:
        base: the model, or one on the meta device.
        args: the fine-tuning options.
    """
    if args.citi_adapter != "molora" or args.citi_export == "none":
        return None
    problem = standing(base.config.to_dict()).export
    return problem and f"citi_export: {problem}; citi_export: none trains it all the same"


def check_export(base: Any, args: Any) -> None:
    """Make sure that what a run trains can be exported, where it is to be.

    Raises:
        OptionError: it could not.
    """
    if problem := export_problem(base, args):
        raise OptionError(f"{problem}.")


def quantized_problem(config: Any, tuning: Sequence[str]) -> str | None:
    """Say why a base that is stored quantized cannot be trained; None where it can, or is plain.

    Args:
        config: transformers' configuration.
        tuning: names of the phases that tune linears of the base.
    """
    method = stored_quantization(config)
    if method is None:
        return None
    if method not in LINEAR:
        return (
            f"the base is quantized by {method}, whose linears are no torch.nn.Linear and cannot be ranked or "
            "adapted; name the unquantized model (quantization_bit: 4 or 8 keeps it small)"
        )
    if not tuning:
        return None
    return (
        f"the base is quantized ({method}), and phase {tuning[0]} cannot tune quantized components; set citi_phases: "
        "rp,mi (with citi_adapter: lora: mi), or name an unquantized model"
    )


def _save_problems(save: str | None) -> list[str]:
    if not save:
        return []
    unwritable = output_problem(str(Path(save).parent))
    problems = [unwritable.replace("output_dir=", "citi_importance_save: ")] if unwritable else []
    if Path(save).is_dir():
        problems.append(f"citi_importance_save={save} is a folder; name a file in it, such as {save}/importance.json")
    return problems
