"""The model of a command without its weights: its modules on the meta device, made from its configuration alone."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping
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

# Kinds of models whose files have the names of the modules, now and before.
_PLAIN_NAMES = ("llama", "mistral", "phi3", "qwen2", "qwen3", "gemma", "gemma2")
_PREFIX, _PAIR = "base_model.model.", (".lora_A.weight", ".lora_B.weight")
# Settings by which an adapter takes some of the modules that its targets name.
_SELECTIVE = ("layers_to_transform", "layers_pattern", "exclude_modules", "target_parameters", "megatron_config")
# A's inputs and B's outputs are the linear's, in LoRA and in adapters of our methods alike.
_PART = re.compile(r"(?P<target>.+)\.\w+_(?P<part>[AB])\.weight")
_DIGITS = re.compile(r"\d+")
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


def lost_weights(model: nn.Module, found: Mapping[str, Any]) -> str | None:
    """Return what a model's files lack, or have in another shape, in words.

    None where they fit, as far as can be seen.

    Names that transformers translates at loading are left out: a tensor counts as lost where its like of another layer
    is there under the name it should have.

    Args:
        model: from the configuration, on the meta device.
        found: facts by name, as the headers of the files have them.
    """
    wanted = {name: list(weight.shape) for name, weight in model.named_parameters()}
    there = wanted.keys() & found.keys()
    if not there:
        kind = getattr(getattr(model, "config", None), "model_type", "")
        return f"none of its tensors has a name of a {kind}" if kind in _PLAIN_NAMES and found else None
    kinds = {_DIGITS.sub("#", name) for name in there}
    lost = [name for name in wanted if name not in found and _DIGITS.sub("#", name) in kinds]
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        return f"its files lack {lost[0]}{more}"
    for name in sorted(there):
        shape = list(found[name].get("shape", wanted[name]))
        if shape != wanted[name]:
            return f"{name} is {shape} in its files, and {wanted[name]} by its config.json"
    return None


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
