"""What the engines that spread a model over processes must be told, or not, for `finetuning_type: citi`.

Each phase of citi has its own learning rate, number of steps and set of parameters that move: an engine's
configuration must leave these to the phases.
"""

from typing import Any

from ..training.engine_conflicts import fsdp_problems, is_set, mismatches, source_of


def engine_conflicts(model_args: Any, training_args: Any, finetuning_args: Any) -> list[str]:
    """Return conflicts of FSDP and DeepSpeed settings with citi, one sentence each with the next step."""
    fsdp = bool(training_args.fsdp) or is_set("ACCELERATE_USE_FSDP")
    if training_args.deepspeed:
        problems = _deepspeed_problems(training_args, finetuning_args)
        spread = training_args.hf_deepspeed_config.is_zero3()
    elif is_set("ACCELERATE_USE_DEEPSPEED"):
        problems, spread = [LAUNCHED], False
    elif fsdp:
        problems, spread = fsdp_problems(training_args, "citi"), True
    else:
        return []
    if spread and model_args.quantization_bit is not None:
        problems.append(
            "quantization_bit: quantized weights cannot be spread over processes in citi training; use DDP or "
            "DeepSpeed ZeRO-2, or load the model unquantized"
        )
    if training_args.load_best_model_at_end:
        problems.append("load_best_model_at_end does not work with citi under FSDP or DeepSpeed; remove it")
    return problems


LAUNCHED = (
    "ACCELERATE_USE_DEEPSPEED: DeepSpeed set up by `accelerate launch` has one learning rate for all phases of citi; "
    "unset it, name the configuration file in the option deepspeed and start with FORCE_TORCHRUN=1"
)


def _deepspeed_problems(training_args: Any, finetuning_args: Any) -> list[str]:
    from accelerate.utils.deepspeed import HfDeepSpeedConfig

    asked = HfDeepSpeedConfig(training_args.deepspeed)  # as written; the arguments' own has its "auto" filled in
    source = source_of(training_args)
    problems = [line for line in mismatches(training_args) if "hf learning_rate=" not in line]
    if "scheduler" in asked.config:
        problems.append(
            f"deepspeed: {source} has a scheduler, one for all phases of citi; remove it, and set lr_scheduler_type "
            "and warmup_steps"
        )
    if "optimizer" in asked.config:
        if asked.get_value("optimizer.params.lr") != "auto":
            problems.append(
                f"deepspeed: {source} has an optimizer with one lr for all phases of citi; set its lr to auto, or "
                "remove the optimizer"
            )
        if finetuning_args.loraplus_lr_ratio is not None:
            problems.append(
                f"loraplus_lr_ratio has no effect on the optimizer of {source}; remove the option or the optimizer"
            )
    return problems
