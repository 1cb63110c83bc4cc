"""FSDP 2 and DeepSpeed ZeRO under PPO: weights that a process holds a part of, or none of.

What it does: says what a process holds of a weight; gathers weights for drawing and for saving. What it does not do:
spread or train anything, which accelerate and DeepSpeed do as upstream sets them up.

Drawing calls the model once per token. Under FSDP the policy is gathered once and stays whole on every process until
all responses are drawn: the memory of DDP's weights for that time, and no communication after the first token. Under
ZeRO-3 DeepSpeed gathers each layer for each token anew: no more memory than in training, but the weights travel once
per token, and all processes draw as many tokens as the longest response of any of them. ZeRO-2 draws like DDP.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from ...training.engines import prepare_for_deepspeed as prepare_layers
from ...training.parameters import parameter_group


def prepare_for_engine(model: nn.Module, state: Any, training_args: Any) -> None:
    """Do what engines leave to their user, before they wrap policy and critic for training in 16 bits.

    FSDP would round what the root gives, log-probabilities, to 16 bits. DeepSpeed has no autocast: all weights must be
    of that type; its optimizer keeps those that train in float32.

    Args:
        model: an `ActorCritic`.
        state: accelerate's.
        training_args: upstream's.
    """
    fsdp = getattr(state, "fsdp_plugin", None)
    if fsdp is not None:
        if fsdp.mixed_precision_policy is not None:
            fsdp.mixed_precision_policy = replace(fsdp.mixed_precision_policy, output_dtype=None)
        return
    half = torch.bfloat16 if training_args.bf16 else torch.float16 if training_args.fp16 else None
    for weight in model.parameters():
        if half is not None and weight.is_floating_point():
            weight.data = weight.data.to(half)
    prepare_layers(model, None)


class ThroughRoot:
    """A policy as drawing calls it, called through the module that an engine has wrapped.

    Args:
        root: an `ActorCritic`; engines gather its parts when it is called itself.
    """

    def __init__(self, root: Any) -> None:
        self._root, self.config = root, root.config

    def __call__(self, **inputs: Any) -> Any:
        return self._root(inputs["input_ids"], inputs["attention_mask"], 0, policy_inputs=inputs)


@contextmanager
def whole_policy(root: Any) -> Iterator[None]:
    """Let FSDP keep within what the first call of the policy has gathered.

    Args:
        root: an `ActorCritic`; nothing happens unless FSDP has wrapped it.
    """
    parts = [part for part in (root, *root.policy.modules()) if isinstance(part, FSDPModule)]
    before = [(part, _reshards(part)) for part in parts]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for part, reshards in before:
            part.set_reshard_after_forward(reshards, recurse=False)
            part.reshard()


def _reshards(part: FSDPModule) -> bool:
    group = part._get_fsdp_state()._fsdp_param_group  # torch has a setter, but nothing that tells
    return group is not None and group.post_forward_mesh_info is not None


def let_go(wrapped: Any) -> None:
    """Drop what an engine has gathered and not freed yet, so that parts that change are gathered anew.

    Args:
        wrapped: the model as the engine gave it back.
    """
    for part in wrapped.modules():
        if isinstance(part, FSDPModule):
            part.reshard()
    if hasattr(wrapped, "empty_partition_cache"):
        wrapped.empty_partition_cache()


def is_spread(weight: Tensor) -> bool:
    """Tell whether this process holds a part of a weight."""
    return isinstance(weight, DTensor) or hasattr(weight, "ds_tensor")


def held(weight: Tensor) -> Tensor:
    """Return what this process holds of a weight; changing it changes the weight."""
    if isinstance(weight, DTensor):
        return DTensor.to_local(weight).detach()
    part: Tensor = getattr(weight, "ds_tensor", weight)  # of ZeRO-3
    return part.detach()


def gathered(model: nn.Module, *, keep: bool) -> dict[str, Tensor]:
    """Return every weight of a model, whole, on the CPU; those that train in float32. All processes must take part.

    One weight at a time is whole on the accelerators.

    Args:
        model: a part of what an engine has wrapped; of one with adapters, only these.
        keep: False returns nothing: for processes that do not save.
    """
    found = {}
    for name, weight in model.named_parameters():
        if isinstance(model, PeftModel) and parameter_group(name) == "frozen" and not weight.requires_grad:
            continue
        whole = _whole(weight)
        if keep:
            found[name] = whole.to("cpu", torch.float32 if weight.requires_grad else whole.dtype, copy=True)
    return found


def _whole(weight: nn.Parameter) -> Tensor:
    if isinstance(weight, DTensor):
        whole: Tensor = DTensor.full_tensor(weight)
        return whole.detach()
    import deepspeed

    trained: Tensor | None = deepspeed.utils.safe_get_full_fp32_param(weight) if weight.requires_grad else None
    if trained is not None:
        return trained
    with deepspeed.zero.GatheredParameters([weight], enabled=hasattr(weight, "ds_id")):
        return weight.detach().clone()


def parts_of(state: Any) -> Any:
    """Return the state of an optimizer with this process's parts in the place of tensors that FSDP has spread."""
    if isinstance(state, DTensor):
        return held(state)
    if isinstance(state, Mapping):
        return {key: parts_of(value) for key, value in state.items()}
    return state


def whole_of(state: Mapping[str, Any], optimizer: Any) -> dict[str, Any]:
    """Return what `parts_of` took apart, for `load_state_dict`.

    Args:
        state: numbered as `optimizer.state_dict()` numbers its weights.
        optimizer: of the weights in FSDP's hands.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    return {
        **state,
        "state": {
            number: {name: _like(value, weights[number]) for name, value in entry.items()}
            for number, entry in state["state"].items()
        },
    }


def _like(value: Any, weight: Tensor) -> Any:
    """Return a moment of a weight, spread like it; what is no moment, as it is."""
    if not isinstance(weight, DTensor) or not isinstance(value, Tensor) or value.shape != held(weight).shape:
        return value
    return DTensor.from_local(
        value.to(weight.device),
        weight.device_mesh,
        weight.placements,
        run_check=False,
        shape=weight.shape,
        stride=weight.stride(),
    )
