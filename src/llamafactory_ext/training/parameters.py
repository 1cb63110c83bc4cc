"""Groups and sizes of a model's parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import nn

Group = Literal["router", "experts", "lora", "backbone", "frozen"]


def parameter_group(name: str) -> Group:
    """The group of a parameter of a PEFT model with MOLoRA or LoRA, by its name."""
    if ".molora_router." in name:
        return "router"
    if ".molora_A." in name or ".molora_B." in name:
        return "experts"
    if ".lora_A." in name or ".lora_B." in name:
        return "lora"
    if ".modules_to_save." in name:
        return "backbone"
    return "frozen"


def trainable_names(model: nn.Module) -> list[str]:
    """Names of the parameters that move, in the model's order."""
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


def size(parameter: torch.Tensor) -> int:
    """Number of elements, also of a parameter that ZeRO-3 has spread over processes."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def total_size(parameters: Iterable[torch.Tensor]) -> int:
    """Number of elements of all parameters."""
    return sum(size(parameter) for parameter in parameters)
