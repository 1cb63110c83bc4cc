"""Engines that spread a model over processes, FSDP 2 and DeepSpeed ZeRO, and what our methods need of them.

What it does: says which engine a command asks for; has weights loaded whole where an engine would spread them; gives
every phase an engine of its own, with its own learning rate; gathers what a phase has trained. What it does not do:
spread or train anything, which accelerate and DeepSpeed do as upstream sets them up.

An engine wraps a model for one optimizer and cannot be taken off again: every phase loads the base anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
from accelerate.state import AcceleratorState
from accelerate.utils import DeepSpeedPlugin
from accelerate.utils.ao import filter_linear_layers
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers.integrations import deepspeed as integration

from ..molora import MoLoraLinear
from .parameters import parameter_group

Engine = Literal["fsdp", "deepspeed"]
_USE_FSDP = "ACCELERATE_USE_FSDP"


def engine_of(training_args: Any) -> Engine | None:
    """Return the engine of this command; None if every process holds the whole model (one process, DDP)."""
    if training_args.deepspeed:
        return "deepspeed"
    if training_args.fsdp or os.environ.get(_USE_FSDP, "").lower() in ("1", "true"):
        return "fsdp"
    return None


@contextmanager
def whole_weights(training_args: Any) -> Iterator[None]:
    """Let a model that is loaded within be whole on every process, as under DDP."""
    if engine_of(training_args) is None:
        yield
        return
    use_fsdp, config = os.environ.pop(_USE_FSDP, None), getattr(training_args, "hf_deepspeed_config", None)
    integration.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        if use_fsdp is not None:
            os.environ[_USE_FSDP] = use_fsdp
        if config is not None:
            integration.set_hf_deepspeed_config(config)


def start_communication(training_args: Any) -> None:
    """Start DeepSpeed's communication, which on a CPU nobody starts before a model is spread.

    It uses the process group there is.
    """
    if engine_of(training_args) == "deepspeed":
        import deepspeed

        if not deepspeed.comm.is_initialized():
            deepspeed.init_distributed()


def renew_engine(training_args: Any) -> None:
    """Forget the last phase's engine; the next trainer sets up its own from these arguments.

    DeepSpeed's configuration is filled in when arguments are parsed, before the phases set learning rates.
    """
    if engine_of(training_args) == "deepspeed":
        AcceleratorState._reset_state()
        training_args.hf_deepspeed_config = integration.HfTrainerDeepSpeedConfig(training_args.deepspeed)
        training_args.hf_deepspeed_config.trainer_config_process(training_args)
        training_args.deepspeed_plugin = DeepSpeedPlugin(hf_ds_config=training_args.hf_deepspeed_config)


def prepare_for_deepspeed(model: nn.Module, half: torch.dtype | None) -> None:
    """Do what DeepSpeed leaves to its user, before it wraps an adapted model.

    In 16 bits it has no autocast: all weights must be of that type. Its optimizer keeps the ones that move in float32.
    Under ZeRO-3 a MOLoRA layer's weights come and go with the layer, as its parts are never called one by one.

    Args:
        model: the adapted model.
        half: the 16-bit type of the training, None for float32.
    """
    if half is not None:
        for name, parameter in model.named_parameters():
            if parameter_group(name) != "frozen":
                parameter.data = parameter.data.to(half)
    if integration.is_deepspeed_zero3_enabled() and any(
        isinstance(module, MoLoraLinear) for module in model.modules()
    ):
        from deepspeed.utils import set_z3_leaf_modules

        set_z3_leaf_modules(model, [MoLoraLinear])


def spare_adapters(accelerator: Any, model: nn.Module) -> None:
    """Keep the adapters' linears out of training in 8 bits, as the first and the last linear of the model are."""
    recipe = getattr(accelerator, "ao_recipe_handler", None)
    if recipe is None:
        return
    adapters = [f"{name}." for name, module in model.named_modules() if isinstance(module, MoLoraLinear)]
    linears = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    own = [name for name in linears if name.startswith(tuple(adapters)) and ".base_layer" not in name]
    recipe.module_filter_func = partial(filter_linear_layers, layers_to_filter=[linears[0], linears[-1], *own])


def adapter_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of everything that an adapter consists of, on the CPU; before an engine has wrapped the model."""
    return {
        name: parameter.detach().to("cpu", copy=True)
        for name, parameter in model.named_parameters()
        if parameter_group(name) != "frozen"
    }


def gather_trained(model: nn.Module, *, keep: bool) -> dict[str, Tensor]:
    """Return every parameter that moves, whole and in float32, on the CPU; all processes must take part.

    Args:
        model: the unwrapped model.
        keep: False returns nothing: for processes that do not save.
    """
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            whole = _whole(parameter)
            if keep:
                found[name] = whole.to("cpu", torch.float32, copy=True)
    return found


def _whole(parameter: nn.Parameter) -> Tensor:
    if isinstance(parameter, DTensor):
        whole: Tensor = DTensor.full_tensor(parameter)
        return whole.detach()
    from deepspeed.utils import safe_get_full_fp32_param

    found: Tensor | None = safe_get_full_fp32_param(parameter)
    assert found is not None, "a parameter that moves has no place in DeepSpeed's optimizer"
    return found
