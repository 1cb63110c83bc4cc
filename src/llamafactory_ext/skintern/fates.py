"""What becomes of upstream's options with `stage: skintern`."""

from __future__ import annotations

from typing import Final

from ..options.fates.row import Column, Command, Fate, idle, refused
from .settings import MT_COT, STEP_BY_STEP

_FATES: Final[dict[str, Fate]] = {
    "optim_target_modules": idle("has no effect without an optim such as galore_adamw"),
    "streaming": refused("does not work with {method}, which builds the data of every step; remove it"),
    "tokenized_path": refused("does not work with {method}, which tokenizes the data of every step; remove it"),
    "adapter_name_or_path": refused(
        "is not used with {method}, which starts from the model; merge the adapter first and remove it"
    ),
    "resume_from_checkpoint": refused(
        "does not work with {method}, whose steps have checkpoints of their own; remove it and repeat the command"
    ),
    **dict.fromkeys(
        ("pissa_init", "pissa_iter", "pissa_convert", "create_new_adapter"),
        refused("does not work with {method}, whose steps go on with one adapter; remove it"),
    ),
    **dict.fromkeys(
        ("torch_compile", "torch_compile_backend", "torch_compile_mode"),
        refused("was never run with {method}, whose steps share one model; remove it"),
    ),
    **dict.fromkeys(
        ("fp8", "fp8_backend", "fp8_enable_fsdp_float8_all_gather", "enable_liger_kernel", "use_liger_kernel"),
        refused("was never run with {method}; remove it"),
    ),
    **dict.fromkeys(
        ("module_dropout", "oft_rank", "oft_block_size"),
        refused("belongs to finetuning_type: oft, which does not work with {method}; remove it"),
    ),
    "push_to_hub": refused(
        "does not work with {method}, whose output_dir holds more than a model; remove it, and upload the finished "
        "folder with `hf upload`"
    ),
}


def apart_problems(command: Command) -> list[str]:
    """Find what rivals with rows or targets of their own, and measuring, were not made for."""
    from ..training.engines import engine_of

    rival, problems = command.skintern_baseline, []
    spread = engine_of(command.group_of("fsdp")) is not None
    if rival in ("distil", MT_COT, STEP_BY_STEP) and command.packing:
        problems.append(f"packing does not work with skintern_baseline: {rival}, whose rows stay apart; remove it")
    if rival == "distil" and spread:
        problems.append("skintern_baseline: distil does not work with DeepSpeed or FSDP; use one process, or DDP")
    if command.skintern_measure and spread:
        problems.append(
            "skintern_measure does not work with DeepSpeed or FSDP, which spread the model; remove it, and ask the "
            "finished model with `llamafactory-ext infer`"
        )
    return problems


COLUMN: Final = Column(
    fates=_FATES,
    checks=(apart_problems,),
    beside={
        "init_special_tokens": {"new_special_tokens_config": "$tokens"},
        "preserve_thinking": {"mask_history": True},
        "early_stopping_steps": {"metric_for_best_model": "eval_loss"},
    },
    shows={"debug": "weights"},
)
