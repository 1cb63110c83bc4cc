"""What cannot go together with `stage: tl_sft` and `stage: tl_ppo`; each is one sentence with the next step.

Single options have their rows in `options/fates/`; here stands what depends on several, or on the stages' own.
"""

from typing import Any

from ..options.stages import PPO_STAGE, SFT_STAGE
from .ppo.engine_conflicts import ppo_engine_conflicts

OF_MAE = ("tl_feedback_rules", "tl_feedback_function")
OF_PKT = ("tl_w_max", "tl_key_variant")


def stage_conflicts(args: Any) -> list[str]:
    """Conflicts within the fine-tuning options, before upstream has looked at them."""
    if args.stage != SFT_STAGE:
        return []
    problems = _without_effect(args, "tl_use_mae", OF_MAE) + _without_effect(args, "tl_use_pkt", OF_PKT)
    if args.tl_feedback_function and args.tl_feedback_rules != type(args).tl_feedback_rules:
        problems.append("tl_feedback_rules has no effect with tl_feedback_function, which judges alone; remove either")
    return problems


def stage_training_conflicts(stage: str, model_args: Any, training_args: Any) -> list[str]:
    """Conflicts between the option groups of a training command."""
    return ppo_engine_conflicts(model_args, training_args) if stage == PPO_STAGE else []


def _without_effect(args: Any, switch: str, names: tuple[str, ...]) -> list[str]:
    if getattr(args, switch):
        return []
    defaults = type(args)
    return [
        f"{name} has no effect with {switch}: false; remove it"
        for name in names
        if getattr(args, name) != getattr(defaults, name)
    ]
