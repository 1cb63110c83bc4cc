"""The model of a command without its weights: its modules on the meta device, made from its configuration alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import torch
from llamafactory.model import load_config
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForSeq2SeqLM,
    AutoModelForTextToWaveform,
)

_KINDS = (AutoModelForImageTextToText, AutoModelForSeq2SeqLM, AutoModelForTextToWaveform)  # in upstream's order


def config_of(model_args: Any) -> Any:
    """Return the model's configuration, as upstream loads it."""
    return load_config(model_args)


def is_trainable(config: Any) -> bool:
    """Return whether upstream finds a model that writes text by this configuration."""
    kinds = (*_KINDS, AutoModelForCausalLM)
    return bool(getattr(config, "auto_map", None)) or any(type(config) in kind._model_mapping for kind in kinds)


def skeleton(config: Any, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Return the model on the meta device, of the class that upstream loads."""
    kind = next((kind for kind in _KINDS if type(config) in kind._model_mapping), AutoModelForCausalLM)
    with torch.device("meta"):
        model: Any = kind.from_config(config, dtype=dtype)
    with contextlib.suppress(AttributeError):
        model.tie_weights()
    bare: nn.Module = model
    return bare


def targets_found(model: nn.Module, targets: Iterable[str]) -> list[str]:
    """Return those of the names that some module of the model ends in."""
    names = [name for name, _ in model.named_modules()]
    return [target for target in targets if any(name == target or name.endswith(f".{target}") for name in names)]


def misfit(model: nn.Module, tensors: dict[str, Any], targets: Any) -> str | None:
    """How an adapter does not fit a model, in words; None where it does, as far as can be seen.

    Args:
        model: the base.
        tensors: shape by name, as the adapter's file has them.
        targets: the names of modules in its configuration.
    """
    modules = dict(model.named_modules())
    if isinstance(targets, list) and not targets_found(model, targets):
        return f"the base has no {', '.join(map(str, targets[:3]))}"
    for name, facts in tensors.items():
        own, shape = name.removeprefix("base_model.model."), list(facts.get("shape", []))
        for part, side in ((".lora_A.weight", 1), (".lora_B.weight", 0)):
            if not own.endswith(part):
                continue
            target = own.removesuffix(part)
            if target not in modules:
                return f"the base has no {target}"
            weight = getattr(modules[target], "weight", None)
            if isinstance(modules[target], nn.Linear) and weight is not None and shape[side] != weight.shape[side]:
                return f"{target} is {list(weight.shape)} in the base, and the adapter's part is {shape}"
    return None
