"""The steps of a run as phases, and what shapes the outcome (SKIntern, arXiv:2409.13183, section 3.3)."""

from __future__ import annotations

import copy
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Final

from ..checkpoint.atomic import read_json
from ..checkpoint.base import MANIFEST
from ..checkpoint.folders import SEAL
from ..errors import CheckpointError, ExtError, OptionError
from ..tl.plan import plan_of
from ..training.phased import METHOD, Phase, PhasedFolder
from .internalised import FILE as INTERNALISED
from .options import MOST_STEPS, SkinternArguments
from .schedule import listed_shares, schedule
from .settings import MT_COT, ONE, STEP_BY_STEP, Settings, check_settings

DATA: Final = "step_data"
TYPES: Final = ("lora", "full", "freeze")
_DIVISION: Final = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "world_size",
    "num_train_epochs",
    "max_steps",
)
_OF_DATA: Final = (
    "template",
    "cutoff_len",
    "packing",
    "neat_packing",
    "train_on_prompt",
    "mask_history",
    "max_samples",
)


class SkinternFolder(PhasedFolder):
    """`output_dir` of a run of SKIntern."""

    FILES: ClassVar[tuple[str, ...]] = (INTERNALISED,)
    NAMES: ClassVar[tuple[str, ...]] = tuple(f"s{step}" for step in range(1, MOST_STEPS + 1))


def shares_of(args: Any) -> tuple[float, ...]:
    """Return the share of the knowledge of each step; a rival of SKIntern has its own.

    Raises:
        OptionError: a pattern that cannot be.
    """
    baseline = args.skintern_baseline
    if baseline in ("std_cot", "ft", MT_COT, STEP_BY_STEP):
        return (0.0,)
    if baseline in ("drop", "kard"):
        return (1.0,)
    if baseline in ("abrupt", "distil"):
        return (1.0, 0.0)
    listed = listed_shares(args.skintern_pattern)
    steps = len(listed) if listed is not None else args.skintern_steps
    if steps > MOST_STEPS:
        raise OptionError(f"skintern_pattern={args.skintern_pattern!r}: list at most {MOST_STEPS} shares.")
    shares = schedule(steps, args.skintern_pattern, args.skintern_decay)
    return (0.0,) * steps if baseline == "std_restarts" else shares


def chain_of(args: Any) -> Any:
    """Return the same options without a rival."""
    chain = copy.copy(args)
    chain.skintern_baseline = "none"
    return chain


def settings_of(args: Any, seed: int, model: str = "") -> Settings:
    """Return what decides the data of the steps.

    Args:
        args: SKIntern's options.
        seed: of all draws.
        model: folder of the one that is trained, which self_info asks where no other is named.

    Raises:
        OptionError: options that cannot be, all of them at once.
    """
    baseline = args.skintern_baseline
    settings = Settings(
        shares=shares_of(args),
        shots=0 if baseline == "kard" else args.skintern_shots,
        examples=args.skintern_examples,
        parts=tuple(part.strip() for part in (args.skintern_parts or "").split(",") if part.strip()),
        compressor=args.skintern_compressor,
        compressor_model=args.skintern_compressor_model or (model if args.skintern_compressor == "self_info" else ""),
        final=args.skintern_final,
        keep_share=args.skintern_keep_share,
        drop_share=0.5 if baseline == "drop" else 0.0,
        rationales=baseline != "ft",
        rows=baseline if baseline in (MT_COT, STEP_BY_STEP) else ONE,
        retrieved=baseline == "kard",
        seed=seed,
    )
    check_settings(settings)
    return settings


def steps_of(args: Any, epochs: float, lr: float) -> tuple[Phase, ...]:
    """Return the steps as phases: `epochs` divided among them, each at the same peak learning rate."""
    shares = shares_of(args)
    last = args.skintern_last_share or 1 / len(shares)
    divided = [(1 - last) / (len(shares) - 1)] * (len(shares) - 1) + [last] if len(shares) > 1 else [1.0]
    return tuple(
        Phase(f"s{step}", f"{share:.0%} of the knowledge", frozenset(), epochs * part, lr)
        for step, (share, part) in enumerate(zip(shares, divided, strict=True), 1)
    )


def measured_sets(args: Any) -> list[str]:
    """Return the names of the data sets of tool calls: of trained tools, then of others."""
    return [name.strip() for name in (args.skintern_measure or "").split(",") if name.strip()]


def check_options(args: Any) -> list[str]:
    """Return what is wrong among SKIntern's own options, before anything is loaded."""
    if args.finetuning_type not in TYPES:
        return [
            f"stage: skintern does not work with finetuning_type: {args.finetuning_type}; set lora, full or "
            "freeze, or another stage"
        ]
    try:
        shares = shares_of(args)
        settings_of(args, 0)
    except ExtError as error:
        return [line.strip("- .") for line in error.message.splitlines() if not line.endswith(":")]
    problems = []
    baseline = args.skintern_baseline
    if baseline == "none" and args.skintern_budget != "steps":
        problems.append(f"skintern_budget: {args.skintern_budget} has no effect without skintern_baseline; remove it")
    if args.skintern_documents and baseline != "kard":
        problems.append("skintern_documents has no effect without skintern_baseline: kard; remove it")
    if baseline in (MT_COT, STEP_BY_STEP, "kard") and args.skintern_compressor == "tools":
        problems.append(
            f"skintern_baseline: {baseline} is of knowledge in words; set skintern_compressor: extractive, or another"
        )
    if len(measured_sets(args)) > 2:
        problems.append(
            f"skintern_measure={args.skintern_measure!r}: name one or two data sets, of trained tools and of others"
        )
    if args.skintern_last_share and len(shares) == 1:
        problems.append(
            f"skintern_last_share has no effect with skintern_baseline: {args.skintern_baseline}; remove it"
        )
    if args.skintern_lr_schedule == "whole" and args.skintern_baseline == "std_restarts":
        problems.append("skintern_lr_schedule: whole makes std_restarts one run; set std_cot, or remove it")
    return problems


def check_training(model_args: Any, training_args: Any, finetuning_args: Any) -> list[str]:
    """Return what keeps a command from training: a finished run in its folder."""
    folder = Path(training_args.output_dir)
    if not training_args.do_train or training_args.overwrite_output_dir or not (folder / SEAL).is_file():
        return []
    try:
        method = read_json(folder / MANIFEST, "manifest").get(METHOD)
    except (CheckpointError, AttributeError):
        return []
    if method != "skintern":
        return []
    return [f"output_dir={folder} holds a finished run; choose another folder, or set overwrite_output_dir: true"]


def make_plan(
    model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any, digests: dict[str, str]
) -> dict[str, Any]:
    """Return everything that shapes the outcome; an interrupted run resumes only under the same plan.

    Args:
        model_args: upstream's group of the options.
        data_args: likewise.
        training_args: likewise.
        finetuning_args: likewise.
        digests: of the records and settings of each data set.
    """
    plan = plan_of(model_args, data_args, training_args, finetuning_args)
    plan |= {option.name: getattr(finetuning_args, option.name) for option in fields(SkinternArguments)}
    plan |= {name: getattr(training_args, name) for name in _DIVISION}
    plan |= {name: getattr(data_args, name) for name in _OF_DATA}
    return plan | {"model_name_or_path": model_args.model_name_or_path, DATA: digests}
