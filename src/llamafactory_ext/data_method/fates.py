"""What becomes of upstream's options with `finetuning_type: data`, in stages sft and tl_sft."""

from __future__ import annotations

from typing import Final

from ..options.fates.row import OF_OPTIMISERS, Column, Command, Fate, refused

_FATES: Final[dict[str, Fate]] = {
    "train_from_scratch": refused(
        "draws a new base at every load, and the adapter of {method} fits only the one that it was trained on; remove "
        "it, or train the base first"
    ),
    **dict.fromkeys(
        ("add_tokens", "add_special_tokens", "new_special_tokens_config", "init_special_tokens"),
        refused(
            "adds rows that stay as drawn, since {method} freezes the base; remove it, or add the tokens to the base "
            "model first and train that"
        ),
    ),
    "streaming": refused("does not work with {method}, which keeps the data's hash with the adapter; remove it"),
    "optim_target_modules": refused("has no effect with {method}; remove it"),
    **dict.fromkeys(("enable_liger_kernel", "use_liger_kernel"), refused("was never run with {method}; remove it")),
    **dict.fromkeys(
        ("fp8", "fp8_backend", "fp8_enable_fsdp_float8_all_gather"),
        refused("would compute the gates of {method} in 8 bits; set bf16: true"),
    ),
    **dict.fromkeys(
        ("torch_compile", "torch_compile_backend", "torch_compile_mode"),
        refused("does not work with {method}, whose gates follow the layers' calls; remove it"),
    ),
    "push_to_hub": refused(
        "does not work with {method}, whose output_dir holds more than a model; remove it, and upload the finished "
        "folder with `hf upload`"
    ),
    **dict.fromkeys(
        (
            "freeze_trainable_layers",
            "freeze_trainable_modules",
            "freeze_extra_modules",
            "additional_target",
            "module_dropout",
            "oft_rank",
            "oft_block_size",
            "oft_target",
            "lora_dropout",
            "loraplus_lr_ratio",
            "loraplus_lr_embedding",
            "use_rslora",
            "use_dora",
            "pissa_init",
            "pissa_iter",
            "pissa_convert",
            *OF_OPTIMISERS,
        ),
        refused("has no effect with {method}; remove it"),
    ),
    "adapter_folder": refused(
        "is not read by {method}; remove it, and write the whole path into adapter_name_or_path"
    ),
    "create_new_adapter": refused("does not work with {method}, which goes on with the one it is given; remove it"),
    "lora_rank": refused("has no effect with {method}; set data_low_rank and data_high_rank"),
    "lora_alpha": refused("has no effect with {method}, which scales nothing; remove it"),
    "lora_target": refused("has no effect with {method}; set data_target"),
    "use_llama_pro": refused("adds layers to the base, which {method} leaves as it is; remove it"),
    **dict.fromkeys(
        ("use_galore", "use_apollo", "use_badam", "use_adam_mini", "use_muon"),
        refused("replaces the optimiser, for which {method} has no groups of weights; remove it, and set optim"),
    ),
    "pure_bf16": refused("would train the gates in bfloat16; set bf16: true in its place"),
    **dict.fromkeys(
        ("deepspeed", "fsdp", "fsdp_config"),
        refused("spreads a model over processes, which {method} does not support; remove it, or use DDP"),
    ),
}


def quantized_merge_problems(command: Command) -> list[str]:
    """Say what a quantized base cannot carry."""
    if command.quantization_bit is None:
        return []
    return ["quantization_bit: DATA adapts plain linears only; load the model unquantized"]


COLUMN: Final = Column(
    fates=_FATES,
    checks=(quantized_merge_problems,),
    never_quantized=lambda command: True,
    reentry=False,
    beside={
        "preserve_thinking": {"mask_history": True},
        "early_stopping_steps": {"metric_for_best_model": "eval_loss"},
    },
    shows={"adapter_name_or_path": "refused", "debug": "weights"},  # the trial's adapter is of LoRA
    notes={
        "resize_vocab": "with data they stay frozen",
        "use_reentrant_gc": "data always recomputes without reentry",
        "adapter_name_or_path": "finetuning_type: data goes on from the adapter of the task before",
    },
)
