"""Groups and sizes of a model's parameters."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal

import torch
from peft import PeftModel
from torch import nn
from transformers import PreTrainedConfig

from ..families import TOWERS

RAISED = "No mixed precision is set: the model is raised to float32. Set bf16: true to keep it small."

_EXPERT = "expert"
_PLAIN = (nn.Linear, nn.Embedding, nn.modules.conv._ConvNd)

Group = Literal["router", "experts", "lora", "backbone", "frozen"]


def parameter_group(name: str) -> Group:
    """Return the group of a parameter of a PEFT model with MOLoRA or LoRA, by its name."""
    if ".molora_router." in name:
        return "router"
    if ".molora_A." in name or ".molora_B." in name:
        return "experts"
    if ".lora_A." in name or ".lora_B." in name:
        return "lora"
    if ".modules_to_save." in name:
        return "backbone"
    return "frozen"


def backbone_linears(model: nn.Module) -> dict[str, nn.Linear]:
    """Return every linear of the backbone by name, in the model's order; the output head is none of them.

    Of a model that sees or hears, those of its language model alone: upstream freezes the towers, and text never
    reaches them.
    """
    get_head: Any = getattr(model, "get_output_embeddings", lambda: None)
    head = get_head()
    linears = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and not name.endswith("lm_head")
    }
    if not has_tower(getattr(model, "config", None)):
        return linears
    get_embeddings: Any = getattr(model, "get_input_embeddings", lambda: None)
    embeddings = get_embeddings()
    inside = next((name for name, module in model.named_modules() if module is embeddings), "")
    while inside:  # up from the embeddings, to the first part that has linears
        inside = inside.rpartition(".")[0]
        part = {name: module for name, module in linears.items() if name.startswith(f"{inside}." if inside else "")}
        if part:
            return part
    return linears


def has_tower(config: Any) -> bool:
    """Tell whether a configuration, or a part of it, is of a model that sees or hears."""
    if any(getattr(config, name, None) is not None for name in TOWERS):
        return True
    parts = vars(config).values() if isinstance(config, PreTrainedConfig) else ()
    return any(has_tower(part) for part in parts if isinstance(part, PreTrainedConfig))


def component_linears(model: nn.Module) -> dict[str, nn.Linear]:
    """Return the linears of the backbone without those that choose among experts, or weigh a shared one.

    A router decides which weights a token meets; it is none of the weights that hold an ability.
    """
    return {name: module for name, module in backbone_linears(model).items() if not is_router(model, name)}


def is_router(model: nn.Module, name: str) -> bool:
    """Tell whether a module chooses among experts, by its name and by what stands beside it.

    Args:
        model: that has the module.
        name: of the module.
    """
    *parents, leaf = name.split(".")
    if "router" in (leaf, *parents) or re.fullmatch(r"shared_experts?_gate", leaf):
        return True
    return leaf == "gate" and any(_EXPERT in key for key, _ in model.get_submodule(".".join(parents)).named_children())


def expert_tensors(model: nn.Module) -> dict[str, int]:
    """Return the tensors that hold the weights of several experts in one, by name, with their numbers of elements.

    Architectures keep them in two dimensions or three, in a module that has "expert" in its class or on its path. They
    belong to no linear module, so that nothing that works on linears sees them.
    """
    return {
        f"{name}.{key}": size(parameter)
        for name, module in model.named_modules()
        if _EXPERT in f"{name} {type(module).__name__}".lower() and not isinstance(module, _PLAIN)
        for key, parameter in module.named_parameters(recurse=False)
        if len(getattr(parameter, "ds_shape", parameter.shape)) > 1  # ZeRO-3 keeps the shape there
    }


def trainable_names(model: nn.Module) -> list[str]:
    """Return the names of the parameters that move, in the model's order."""
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def size(parameter: torch.Tensor) -> int:
    """Return the number of elements, also of a parameter that ZeRO-3 has spread over processes."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def total_size(parameters: Iterable[torch.Tensor]) -> int:
    """Return the number of elements of all parameters."""
    return sum(size(parameter) for parameter in parameters)


def raise_to_float32(model: nn.Module, training_args: Any) -> bool:
    """Raise a 16-bit model of which some layers train in float32, as layers of two types cannot follow one another.

    Adapters convert what goes through them, and under mixed precision torch does.

    Returns:
        Whether it was raised.
    """
    if training_args.bf16 or training_args.fp16 or isinstance(model, PeftModel):
        return False
    types = {weight.dtype for weight in model.parameters() if weight.is_floating_point()}
    if torch.float32 not in types or not types & {torch.float16, torch.bfloat16}:
        return False
    model.float()
    return True
