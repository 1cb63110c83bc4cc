"""What becomes of upstream's options with `stage: tl_sft`."""

from __future__ import annotations

from typing import Final

from ...options.fates.row import Column, Fate, idle

_FATES: Final[dict[str, Fate]] = {
    "optim_target_modules": idle("has no effect without an optim such as galore_adamw"),
}


COLUMN: Final = Column(
    fates=_FATES,
    beside={
        "adapter_folder": {"adapter_name_or_path": "$nested"},
        "init_special_tokens": {"new_special_tokens_config": "$tokens"},
        "moe_aux_loss_coef": {"use_reentrant_gc": False},
        "buffer_size": {"streaming": True},
        "preserve_thinking": {"mask_history": True},
        "loraplus_lr_embedding": {"loraplus_lr_ratio": 16.0, "lora_target": "embed_tokens,q_proj"},
        "early_stopping_steps": {"metric_for_best_model": "eval_loss"},
    },
    notes={
        "push_to_hub": "tl_sft asks the hub before anything is loaded; the trial has none",
    },
)
