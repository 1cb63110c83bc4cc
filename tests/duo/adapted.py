"""Tiny models with DATA's adapter, and what its tests compare."""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModel, get_peft_model
from torch import Tensor

import llamafactory_ext  # noqa: F401  # registers DATA
from llamafactory_ext.duo import DataAdapterConfig
from tiny import tiny_model

IDS = torch.randint(5, 384, (2, 9), generator=torch.Generator().manual_seed(0))


def adapted(
    architecture: str = "llama", layers: int = 4, dtype: torch.dtype = torch.float32, **changes: Any
) -> PeftModel:
    """A tiny model with an adapter that acts and gates that differ; the same arguments give the same weights."""
    settings = {"low_rank": 2, "high_rank": 3, "components": 4, "layers_per_gate": 2, "init_weights": False}
    base = tiny_model(architecture, layers=layers, dtype=dtype)
    torch.manual_seed(1)
    model = get_peft_model(base, DataAdapterConfig(**(settings | changes)))
    for gate in model.base_model.gates().values():  # fresh ones are near one half for every token
        with torch.no_grad():
            gate.new_W.add_(0.3)
            gate.new_K.add_(0.3)
    return model.eval()


def logits(model: torch.nn.Module, ids: Tensor = IDS, **given: Any) -> Tensor:
    """The model's logits, without a graph."""
    with torch.no_grad():
        return model(input_ids=ids, **given).logits


def gradients(model: torch.nn.Module, ids: Tensor = IDS) -> dict[str, Tensor]:
    """The loss and the gradient of each parameter that has one."""
    model.zero_grad()
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return {"loss": loss.detach(), **found}
