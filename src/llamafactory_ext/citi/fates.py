"""What becomes of upstream's options with `finetuning_type: citi`, in stages sft and tl_sft."""

from __future__ import annotations

from typing import Final

from ..options.fates.row import OF_OPTIMISERS, Column, Command, Fate, idle, refused

_FATES: Final[dict[str, Fate]] = {
    "adapter_name_or_path": refused(
        "is not used in citi training, which starts from the base model; remove it (an interrupted "
        "run goes on when the same command is repeated)"
    ),
    "adapter_folder": idle("has no effect in citi training, which starts from the base model"),
    "train_from_scratch": refused(
        "draws a new base at every load, and the adapter of {method} fits only the one that it was "
        "trained on; remove it, or train the base first"
    ),
    **dict.fromkeys(
        ("add_tokens", "add_special_tokens", "new_special_tokens_config"),
        refused(
            "adds tokens whose embeddings stay as drawn, since {method} freezes the base; remove it, or "
            "add the tokens to the base model first and train that"
        ),
    ),
    "init_special_tokens": refused(
        "does not work with {method}, whose frozen base must have the same rows at every load; remove it"
    ),
    "streaming": refused("does not work with {method}, which passes over the data several times; remove it"),
    **dict.fromkeys(
        ("num_train_epochs", "learning_rate"),
        idle("has no effect with {method}; each phase has its own (citi_rp_*, citi_mi_*, citi_uco_*)"),
    ),
    "optim_target_modules": refused("has no effect with {method}; the phases choose what trains; remove it"),
    "fp8_enable_fsdp_float8_all_gather": refused(
        "gathers weights in 8 bits, and {method} reads those of its adapters itself; remove it"
    ),
    "push_to_hub": refused(
        "does not work with {method}, whose output_dir holds more than a model; remove it, and upload"
        " the finished folder with `hf upload`"
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
            "create_new_adapter",
            "lora_dropout",
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
    "lora_rank": refused("has no effect with {method}; set citi_rank"),
    "lora_alpha": refused("has no effect with {method}; set citi_alpha"),
    "lora_target": refused("has no effect with {method}; citi chooses the modules by importance, set citi_top_ratio"),
    "use_llama_pro": refused("adds layers to the base, which {method} leaves as it is; remove it"),
    **dict.fromkeys(
        ("use_galore", "use_apollo", "use_badam", "use_adam_mini", "use_muon"),
        refused("replaces the optimiser that the phases of citi need; remove it"),
    ),
    "pure_bf16": refused("would train the router in bfloat16; set bf16: true in its place"),
}


def quantized_rows_problems(command: Command) -> list[str]:
    """Say that new rows need a base that is not quantized."""
    if not command.resize_vocab or command.quantization_bit is None:
        return []
    return ["resize_vocab cannot add rows to a quantized base; remove it, or load the model unquantized"]


def float8_problems(command: Command) -> list[str]:
    """Find training in 8 bits that would replace the adapters' own matrices, or spread them."""
    from ..training.engines import engine_of

    if not command.fp8:
        return []
    if engine_of(command.group_of("fsdp")) is not None:
        return [f"fp8 was not tried with {command.shown} under FSDP or DeepSpeed; remove one of the two"]
    if command.fp8_backend != "te":
        return []
    return [
        f"fp8_backend: te puts modules with weights of their own in the place of those of {command.shown}; set "
        "fp8_backend: torchao"
    ]


def never_quantized(command: Command) -> bool:
    """Return whether a quantized base is refused anyway, whatever is installed."""
    return bool(command.citi_adapter == "full" or "uco" in command.citi_phases)


COLUMN: Final = Column(
    fates=_FATES,
    checks=(quantized_rows_problems, float8_problems),
    never_quantized=never_quantized,
    groups_weights=True,
    reentry=False,
    resumes_alone=True,
    beside={
        "preserve_thinking": {"mask_history": True},
        "early_stopping_steps": {"metric_for_best_model": "eval_loss"},
    },
    shows={"debug": "weights"},
    notes={
        "resize_vocab": "with citi they stay frozen",
        "use_reentrant_gc": "citi always recomputes without reentry",
        "max_steps": "per phase of citi",
        "label_smoothing_factor": "in phases mi and uco of citi; importance and the router loss have no labels",
        "fp8": "citi computes its routers and experts in the usual precision; fp8_backend: te is refused there",
        "torch_compile": "citi leaves its adapters out of the graphs",
        "load_best_model_at_end": "citi applies it to phases mi and uco; in phase rp the evaluation loss cannot move",
        "early_stopping_steps": "citi stops phases mi and uco by it; in phase rp the evaluation loss cannot move",
    },
)
