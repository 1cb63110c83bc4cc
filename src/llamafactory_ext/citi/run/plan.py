"""What shapes the outcome of a run, as its manifest says it."""

from __future__ import annotations

from typing import Any

from ...options.data import DataArguments
from ...options.groups import option_names
from ...tl.sft.options import TlArguments
from ..options import CitiArguments

NOT_IN_PLAN = ("citi_report_samples", "citi_importance_save", "citi_kernel", "citi_export", "record_check")
MODEL_OPTIONS = ("model_name_or_path", "quantization_bit", "quantization_type", "double_quantization", "resize_vocab")
DATA_OPTIONS = (
    "dataset",
    "dataset_dir",
    "template",
    "cutoff_len",
    "packing",
    "neat_packing",
    "train_on_prompt",
    "mask_history",
    "mix_strategy",
    "interleave_probs",
    "max_samples",
    "val_size",
)
TRAINING_OPTIONS = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "world_size",
    "max_steps",
    "seed",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "bf16",
    "fp16",
    "optim",
    "optim_args",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "max_grad_norm",
    "warmup_ratio",
    "lr_scheduler_kwargs",
    "neftune_noise_alpha",
    "label_smoothing_factor",
)
_JSON = (str, int, float, bool, list, type(None))


def make_plan(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> dict[str, Any]:
    """Return everything that shapes the outcome: an interrupted run goes on only under the same plan."""
    plan = {name: getattr(model_args, name) for name in MODEL_OPTIONS}
    own = [name for name in option_names(CitiArguments, DataArguments) if name not in NOT_IN_PLAN]
    plan |= {name: getattr(finetuning_args, name) for name in own}
    if finetuning_args.tl_stage is not None:
        plan["stage"] = finetuning_args.tl_stage
        plan |= {name: getattr(finetuning_args, name) for name in option_names(TlArguments)}
    plan["loraplus_lr_ratio"] = finetuning_args.loraplus_lr_ratio
    plan |= {name: getattr(data_args, name) for name in DATA_OPTIONS}
    plan |= {name: getattr(training_args, name) for name in TRAINING_OPTIONS}
    return {name: str(value) if not isinstance(value, _JSON) else value for name, value in plan.items()}
