"""What the engines that spread a model over processes must be told, or not, for `stage: tl_ppo`.

The stage keeps the reference's parts beside the policy's and gives the critic a learning rate of its own: an engine's
configuration must leave the names of weights and the optimizer to it.
"""

from typing import Any

from ...training.engine_conflicts import fsdp_problems, is_set, mismatches, source_of


def ppo_engine_conflicts(model_args: Any, training_args: Any) -> list[str]:
    """Return conflicts of FSDP and DeepSpeed settings with tl_ppo, one sentence each with the next step."""
    if training_args.deepspeed:
        problems = _deepspeed_problems(training_args)
        spread = training_args.hf_deepspeed_config.is_zero3()
    elif is_set("ACCELERATE_USE_DEEPSPEED"):
        problems, spread = [LAUNCHED], False
    elif training_args.fsdp or is_set("ACCELERATE_USE_FSDP"):
        problems, spread = _fsdp_problems(training_args), True
    else:
        return []
    if spread and model_args.quantization_bit is not None:
        problems.append(
            "quantization_bit: quantized weights cannot be spread over processes with stage: tl_ppo; use DDP or "
            "DeepSpeed ZeRO-2, or load the model unquantized"
        )
    if training_args.load_best_model_at_end:
        problems.append("load_best_model_at_end does not work with stage: tl_ppo under FSDP or DeepSpeed; remove it")
    if not training_args.do_train:
        problems.append(
            "stage: tl_ppo without do_train draws responses only, from whole weights; remove deepspeed or fsdp"
        )
    return problems


INSTEAD = {"optimizer": "optim and tl_critic_lr", "scheduler": "lr_scheduler_type and warmup_steps"}
LAUNCHED = (
    "ACCELERATE_USE_DEEPSPEED: stage: tl_ppo loads the policy by the option deepspeed; unset the variable, name the "
    "configuration file in that option and start with FORCE_TORCHRUN=1"
)


def _fsdp_problems(training_args: Any) -> list[str]:
    problems = fsdp_problems(training_args, "stage: tl_ppo")
    if training_args.save_only_model:
        problems.append("save_only_model does not work with stage: tl_ppo under FSDP; remove it")
    return problems


def _deepspeed_problems(training_args: Any) -> list[str]:
    from accelerate.utils.deepspeed import HfDeepSpeedConfig

    asked = HfDeepSpeedConfig(training_args.deepspeed).config  # as written, without what "auto" stands for
    source = source_of(training_args)
    return mismatches(training_args) + [
        f"deepspeed: {source} has a part {part}, which does not know policy and critic apart; remove it, and set "
        f"{instead}"
        for part, instead in INSTEAD.items()
        if part in asked
    ]
