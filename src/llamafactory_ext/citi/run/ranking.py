"""The importance of a run's components: from a file, or computed by the score that exists for all of them."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from ...checkpoint.base import identity_of, quantization
from ...errors import CheckpointError, OptionError
from ...methods import listed
from ...options.groups import changed_options
from ...training.processes import by_main
from ...training.same_data import content_hash
from ...training.stopwatch import lap, laps
from ..importance import VanishingError
from ..importance_file import EQ4, TITLES, Importance
from ..options import CitiArguments
from ..phases import phase_table
from ..scoring import compute_importance, fits_float32, group_by_task, scoring_mode, shapes_of
from ..stopping import Stable
from .adapters import ratios
from .inputs import Preparation, say

# Of the other scores the nearest to eq. 4 (docs/citi.md), and the one that quantized weights have too.
STAND_IN, STAND_IN_QUANTIZED = "snip", "fisher"
# Options of computing it, which a file leaves nothing to do.
OF_COMPUTING = tuple(f"citi_importance_{name}" for name in ("samples", "stop", "reduction", "dtype", "save"))


def loaded_importance(inputs: Preparation, base: nn.Module) -> Importance | None:
    """Return what `citi_importance_load` names, if it does.

    Raises:
        CheckpointError: the file is missing, damaged, or of another model.
    """
    if not inputs.finetuning_args.citi_importance_load:
        return None
    path = Path(inputs.finetuning_args.citi_importance_load)
    importance = by_main(lambda: Importance.load(path))
    if (problem := importance.base_problem(path, base)) is not None:
        raise CheckpointError(problem)
    importance.check(path, shapes_of(base))
    if (problem := importance.score_problem(path, inputs.finetuning_args.citi_importance_score)) is not None:
        raise OptionError(problem)
    other = importance.other_data(path, content_hash(inputs.examples["train_dataset"]))
    changed = [name for name in changed_options(inputs.finetuning_args, CitiArguments) if name in OF_COMPUTING]
    idle = f"{listed(tuple(changed))}: no effect, as the importance is read from {path}." if changed else None
    for remark in (importance.uncounted(path), importance.unknown_base(path), other, idle):
        if remark is not None:
            say(remark)
    return importance


def computed_importance(inputs: Preparation, base: nn.Module, default: Path) -> Importance:
    """Compute what the file does not hold yet.

    Args:
        inputs: options and data.
        base: the model, without adapters.
        default: the file, unless `citi_importance_save` names one.
    """
    args, shapes = inputs.finetuning_args, shapes_of(base)
    path = Path(args.citi_importance_save or default)
    asked = args.citi_importance_score
    settings = {
        "score": EQ4 if asked == "auto" else asked,
        "reduction": args.citi_importance_reduction if asked in ("auto", EQ4) else "example",
        "dtype": _scoring_dtype(inputs, base),
        "samples": args.citi_importance_samples,
        "dataset": inputs.data_args.dataset,
        "seed": inputs.training_args.seed,
        "data": content_hash(inputs.examples["train_dataset"]),
    }
    stable = _stable(inputs)
    if stable is not None:
        settings["stop"] = asdict(stable)
    identity = identity_of(base)
    identity["linears"] = {name: found for name, found in identity["linears"].items() if name in shapes}
    start = Importance(inputs.model_args.model_name_or_path, shapes, settings, identity=identity)
    # The main process alone writes the file; others may have none, or an older one, on disks of their own.
    found = by_main(lambda: Importance.load(path) if path.is_file() else None)
    if found is not None and found.other_base(path, base) is None:
        start = _begun(found, start, args, path) or start
    groups = group_by_task(inputs.examples["train_dataset"])
    laps.count("importance", args.citi_importance_samples, [len(rows) for _, rows in groups.values()])
    try:
        return _compute(inputs, base, start, stable, path)
    except VanishingError as error:
        if asked != "auto":
            raise
        score = STAND_IN_QUANTIZED if quantization(base) else STAND_IN
        say(
            f"Importance: of eq. 4, {error.what}; the {TITLES[score]} is taken for all components instead "
            f"(citi_importance_score: {score})."
        )
        other = {"score": score, "reduction": "example", "instead_of_eq4": error.what}
        return _compute(inputs, base, replace(start, settings=start.settings | other, tasks={}), stable, path)


def _stable(inputs: Preparation) -> Stable | None:
    """Return when a task has seen enough; None where all samples are looked at."""
    args = inputs.finetuning_args
    if not args.citi_importance_stop:
        return None
    return Stable(args.citi_importance_stop, *ratios(args, phase_table(args)), end=args.citi_select)


def _compute(inputs: Preparation, base: nn.Module, start: Importance, stable: Stable | None, path: Path) -> Importance:
    args, settings = inputs.finetuning_args, start.settings
    with (
        lap("importance"),
        scoring_mode(
            base,
            float32=settings["dtype"] == "float32",
            checkpointing=not inputs.model_args.disable_gradient_checkpointing,
        ),
    ):
        return compute_importance(
            base,
            inputs.examples["train_dataset"],
            inputs.collator(base, packed=False),
            start,
            samples=args.citi_importance_samples,
            batch_size=inputs.training_args.per_device_train_batch_size,
            reduction=args.citi_importance_reduction,
            seed=inputs.training_args.seed,
            path=path,
            score=settings["score"],
            stable=stable,
            tell=say,
        )


def _scoring_dtype(inputs: Preparation, base: nn.Module) -> str:
    asked = inputs.finetuning_args.citi_importance_dtype
    if quantization(base):
        return "model"  # the quantized weights are the ones that will be trained on
    if asked != "auto":
        return str(asked)
    if fits_float32(base):
        return "float32"
    say(
        "Importance is scored in the model's 16 bits, as float32 does not fit into memory: scores are off by 1 to "
        "2 %, and which components are the least important is uncertain."
    )
    return "model"


def _begun(found: Importance, start: Importance, args: Any, path: Path) -> Importance | None:
    """Return a file's scores if they are what this run computes, or began to; None if they are others.

    Where a run chooses for itself (`auto`), what an interrupted one began with stays.

    Raises:
        CheckpointError: an earlier version ranked by scores that say nothing.
    """
    settings = dict(start.settings)
    theirs = {"score": EQ4, **found.settings}
    if args.citi_importance_dtype == "auto":
        settings["dtype"] = theirs.get("dtype", settings["dtype"])
    if args.citi_importance_score == "auto" and "instead_of_eq4" in theirs:
        settings |= {name: theirs.get(name) for name in ("score", "reduction", "instead_of_eq4")}
    if (found.base, found.shapes, theirs) != (start.base, start.shapes, settings):
        return None
    if names := found.vanishing():
        raise CheckpointError(
            f"{path}: an earlier version ranked by eq. 4, which is 0 by construction for {len(names)} components, "
            f"{names[0]} for example. Set overwrite_output_dir: true to begin again with another score."
        )
    return replace(found, settings=settings)
