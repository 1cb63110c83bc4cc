"""How adapters fit the model of a command, seen on the meta device without its weights."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from llamafactory.model import load_config
from torch import nn

_PREFIX, _PAIR = "base_model.model.", (".lora_A.weight", ".lora_B.weight")
# Settings by which an adapter takes some of the modules that its targets name.
_SELECTIVE = ("layers_to_transform", "layers_pattern", "exclude_modules", "target_parameters", "megatron_config")
# A's inputs and B's outputs are the linear's, in LoRA and in adapters of our methods alike.
_PART = re.compile(r"(?P<target>.+)\.\w+_(?P<part>[AB])\.weight")


def config_of(model_args: Any) -> Any:
    """Return the model's configuration, as upstream loads it."""
    return load_config(model_args)


def targets_found(model: nn.Module, targets: Iterable[str]) -> list[str]:
    """Return those of the names that some module of the model ends in."""
    names = [name for name, _ in model.named_modules()]
    return [target for target in targets if any(name == target or name.endswith(f".{target}") for name in names)]


def misfit(model: nn.Module, tensors: dict[str, Any], targets: Any) -> str | None:
    """Return how an adapter does not fit a model, in words; None where it does, as far as can be seen.

    Args:
        model: the base.
        tensors: shape by name, as the adapter's file has them.
        targets: the names of modules in its configuration.
    """
    modules = dict(model.named_modules())
    if isinstance(targets, list) and not targets_found(model, targets):
        return f"the base has no {', '.join(map(str, targets[:3]))}"
    for name, facts in tensors.items():
        found, shape = _PART.fullmatch(name.removeprefix(_PREFIX)), list(facts.get("shape", []))
        if found is None:
            continue
        target, side = found["target"], 1 if found["part"] == "A" else 0
        if target not in modules:
            return f"the base has no {target}"
        weight = getattr(modules[target], "weight", None)
        if isinstance(modules[target], nn.Linear) and weight is not None and shape[side] != weight.shape[side]:
            return f"{target} is {list(weight.shape)} in the base, and the adapter's part is {shape}"
    return None


def lost_part(model: nn.Module, tensors: Mapping[str, Any], config: Mapping[str, Any]) -> str | None:
    """Return the first tensor that a LoRA adapter should have and has not.

    None where none is lost, as far as can be seen.

    PEFT goes on with fresh numbers in its place, and warns of it at most.

    Args:
        model: the base.
        tensors: facts by name, as the adapter's file has them.
        config: of the adapter.
    """
    targets = config.get("target_modules")
    if config.get("peft_type") != "LORA" or not tensors or not isinstance(targets, list):
        return None
    modules = {name.removesuffix(part) for name in tensors for part in _PAIR if name.endswith(part)}
    if not any(config.get(name) for name in _SELECTIVE):
        ends = tuple(f".{target}" for target in targets)
        named = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
        modules |= {f"{_PREFIX}{name}" for name in named if f".{name}".endswith(ends)}
    return next((name for module in sorted(modules) for name in _pair(module) if name not in tensors), None)


def _pair(module: str) -> tuple[str, ...]:
    return tuple(f"{module}{part}" for part in _PAIR)
