"""The policy that PPO trains, for every fine-tuning type, ready to train."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from peft import PeftModel

from ...errors import OptionError
from ...methods import load, row_of
from ...training.parameters import RAISED, parameter_group, raise_to_float32
from ...upstream.pipeline.api import get_logger

logger = get_logger("llamafactory.tl")  # below upstream's root logger, whose handlers print it


def load_policy(
    load_model: Callable[..., Any], tokenizer: Any, model_args: Any, training_args: Any, finetuning_args: Any
) -> tuple[Any, bool]:
    """Load the model as LLaMA-Factory does, with an adapter whose low-rank parts and routers train.

    A type with an adapter of its own kind goes on from that of a finished run.

    Returns:
        The policy, and whether it has an adapter that does nothing yet.
    """
    row = row_of(finetuning_args.finetuning_type, "finetuning_type")
    if row is None or row.adapter is None:
        policy = load_model(tokenizer, model_args, finetuning_args, is_trainable=training_args.do_train)
        continued = bool(model_args.adapter_name_or_path) and not finetuning_args.create_new_adapter
        moved = finetuning_args.pissa_init  # a part of the base stands in the adapter, whose "off" is another model
        fresh = isinstance(policy, PeftModel) and not continued and not moved
        return _in_training_type(policy, training_args), fresh
    paths = model_args.adapter_name_or_path or []
    if not paths:
        raise OptionError(
            f"stage: tl_ppo with {row.shown} goes on from a trained adapter; set adapter_name_or_path to the "
            f"output_dir of a {row.name} run."
        )
    bare = copy.copy(model_args)
    bare.adapter_name_or_path = None
    base = load_model(tokenizer, bare, finetuning_args, is_trainable=training_args.do_train)
    policy = load(row.adapter.load)(base, model_args, finetuning_args, paths)
    for name, weight in policy.named_parameters():
        trains = parameter_group(name) in ("router", "experts", "lora")
        weight.requires_grad_(trains)
        if trains:
            weight.data = weight.data.float()
    return _in_training_type(policy, training_args), False


def _in_training_type(policy: Any, training_args: Any) -> Any:
    """Raise a 16-bit model without mixed precision, which would round small updates away, to float32."""
    if training_args.do_train and not any(weight.requires_grad for weight in policy.parameters()):
        raise OptionError("No weight of the policy trains; choose another finetuning_type or freeze fewer layers.")
    if training_args.do_train and raise_to_float32(policy, training_args):
        logger.info_rank0(RAISED)
    return policy
