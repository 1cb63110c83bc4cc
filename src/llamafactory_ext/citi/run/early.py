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
from ..importance import VanishingError, linear_components
from ..importance_file import EQ4, Importance
from ..phases import phase_table
from ..scoring import shapes_of
from ..selection import selected_counts
from ..trial import trial_of, vanishing_components
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
    try:
        if model is not None:
            selected_counts(len(linear_components(model)), *shares)
    except ExtError as error:
        problems.append(error.message.rstrip("."))
    return problems + _score_problems(model, finetuning_args) or _trial_problems(model)


def _score_problems(model: nn.Module | None, args: Any) -> list[str]:
    """Say why the scores that a run loads are not its own model's, or why it cannot compute those it asks for."""
    path = Path(args.citi_importance_load) if args.citi_importance_load else None
    if path is None:
        if model is None or args.citi_importance_score != EQ4 or not (hidden := vanishing_components(model)):
            return []
        return [VanishingError(hidden, len(linear_components(model))).message.rstrip(".")]
    if not path.is_file():
        return []  # said elsewhere
    try:
        importance = Importance.load(path)
        problem = importance.base_problem(path, model) if model is not None else None
        problem = problem or importance.score_problem(path, args.citi_importance_score)
        if model is not None and problem is None:
            importance.check(path, shapes_of(model))
            problem = _eq4_problem(path, importance, model)
    except ExtError as error:
        return [f"citi_importance_load: {error.message.rstrip('.')}"]
    return [f"citi_importance_load: {problem.rstrip('.')}"] if problem else []


def _eq4_problem(path: Path, importance: Importance, model: nn.Module) -> str | None:
    """Say that what a file holds or says of eq. 4 cannot be so on this model."""
    why = importance.settings.get("instead_of_eq4")
    if importance.score == EQ4:
        if not (hidden := vanishing_components(model)):
            return None
        what = VanishingError(hidden, len(linear_components(model))).what
        return (
            f"{path} holds scores by eq. 4, and on this model {what}. Leave out citi_importance_load: another score "
            "is computed"
        )
    if importance.identity or not why or vanishing_components(model) != ():
        return None
    return (
        f"{path} belongs to another model ({importance.base}): it says of eq. 4 that {why}, and on this model it is "
        "0 for none. Leave out citi_importance_load, or name the file of this base model"
    )


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
