"""Two adapters on the same tiny model, LoRA as control, and what each test compares."""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from torch import Tensor, nn

import llamafactory_ext  # noqa: F401  # registers MOLORA
from llamafactory_ext.molora import MoLoraConfig
from tiny import tiny_model

METHODS = ("LoRA", "MOLoRA")
TARGETS = ["model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj", "model.layers.1.mlp.up_proj"]
TUNED = ["model.layers.1.self_attn.k_proj"]
WIDTH_IN, WIDTH_OUT = 48, 32  # of `layer`
IDS = torch.randint(0, 384, (2, 7), generator=torch.Generator().manual_seed(0))


def config(method: str, **changes: Any) -> PeftConfig:
    """Settings of an adapter that acts from the start."""
    common = {"target_modules": list(TARGETS), "r": 4}
    if method == "LoRA":
        return LoraConfig(**(common | {"lora_alpha": 32, "init_lora_weights": False} | changes))
    return MoLoraConfig(**(common | {"alpha": 32, "num_experts": 3, "init_weights": False} | changes))


def adapted(method: str, dtype: torch.dtype = torch.float32, **changes: Any) -> PeftModel:
    """The tiny model with an adapter; the same arguments give the same weights."""
    base = tiny_model(dtype=dtype)
    torch.manual_seed(1)
    return get_peft_model(base, config(method, **changes)).eval()


def layer(model: nn.Module) -> nn.Module:
    """One adapted linear."""
    return model.base_model.model.get_submodule(TARGETS[1])


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """The loss and the gradient of each parameter that has one, by its name without wrappers."""
    model.zero_grad()
    loss = model(input_ids=IDS, labels=IDS).loss
    loss.backward()
    found = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    return {"loss": loss.detach(), **found}


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor], bound: float = 1e-5) -> None:
    assert found.keys() == wanted.keys()
    assert len(wanted) > 1
    for name, tensor in wanted.items():
        assert torch.allclose(found[name], tensor, rtol=1e-4, atol=bound), name


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def leaves(model: nn.Module) -> list[nn.Module]:
    """Every linear that belongs to an adapted layer: the base's and the adapter's own."""
    layers = [module for module in model.modules() if hasattr(module, "base_layer")]
    assert len(layers) == len(TARGETS)
    return [module for layer in layers for module in layer.modules() if type(module) is nn.Linear]
