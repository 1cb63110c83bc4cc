"""What cannot go together with `stage: tl_sft` and `stage: tl_ppo`; each is one sentence with the next step."""

import os
from typing import Any

from ..options.stages import PPO_STAGE, SFT_STAGE
from .ppo.engine_conflicts import ppo_engine_conflicts

LOSSES = ("use_dft_loss", "use_asft_loss", "use_eaft_loss")
BACKENDS = ("use_mca", "use_hyper_parallel")
MODEL_SWITCHES = ("use_unsloth", "use_kt")
OF_MAE = ("tl_feedback_rules", "tl_feedback_function")
OF_PKT = ("tl_w_max", "tl_key_variant")


def stage_conflicts(args: Any) -> list[str]:
    """Conflicts within the fine-tuning options, before upstream has looked at them."""
    problems = [
        f"{name} replaces the loss that stage: {args.stage} computes; remove it"
        for name in LOSSES
        if getattr(args, name, False)
    ]
    problems += [
        f"{name} does not work with stage: {args.stage}; remove it" for name in BACKENDS if getattr(args, name, False)
    ]
    if args.stage == SFT_STAGE:
        problems += _without_effect(args, "tl_use_mae", OF_MAE) + _without_effect(args, "tl_use_pkt", OF_PKT)
        if args.tl_feedback_function and args.tl_feedback_rules != type(args).tl_feedback_rules:
            problems.append(
                "tl_feedback_rules has no effect with tl_feedback_function, which judges alone; remove either"
            )
        if args.compute_accuracy:
            problems.append(f"compute_accuracy needs the logits that stage: {SFT_STAGE} never forms; remove it")
    return problems


def stage_training_conflicts(stage: str, model_args: Any, data_args: Any, training_args: Any) -> list[str]:
    """Conflicts between the option groups of a training command."""
    problems = [
        f"{name} does not work with stage: {stage}; remove it"
        for name in MODEL_SWITCHES
        if getattr(model_args, name, None)
    ]
    if os.environ.get("USE_MCA", "").lower() in ("1", "true", "y"):
        problems.append(f"USE_MCA does not work with stage: {stage}; unset the variable")
    if data_args.streaming and stage == PPO_STAGE:
        problems.append(f"streaming does not work with stage: {stage}, which draws queries from all data; remove it")
    if data_args.streaming and training_args.do_train and training_args.max_steps <= 0:
        problems.append("streaming needs max_steps: the length of a stream is not known; set it")
    if stage == PPO_STAGE:
        problems += ppo_engine_conflicts(model_args, training_args)
    if not training_args.do_train or stage != SFT_STAGE:
        return problems
    if training_args.label_smoothing_factor:
        problems.append(f"label_smoothing_factor is not part of the loss that stage: {stage} computes; remove it")
    if training_args.predict_with_generate:
        problems.append(
            f"predict_with_generate does not work while stage: {stage} trains; remove it, and evaluate the finished "
            "model with do_predict"
        )
    return problems


def _without_effect(args: Any, switch: str, names: tuple[str, ...]) -> list[str]:
    if getattr(args, switch):
        return []
    defaults = type(args)
    return [
        f"{name} has no effect with {switch}: false; remove it"
        for name in names
        if getattr(args, name) != getattr(defaults, name)
    ]
