"""A model without its weights: its modules on the meta device, made from its configuration alone."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForSeq2SeqLM,
    AutoModelForTextToWaveform,
)

# Kinds of models whose files have the names of the modules, now and before.
_PLAIN_NAMES = ("llama", "mistral", "phi3", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "smollm3")
_DIGITS = re.compile(r"\d+")
_KINDS = (AutoModelForImageTextToText, AutoModelForSeq2SeqLM, AutoModelForTextToWaveform)  # in upstream's order


def is_trainable(config: Any, *, trusted: bool) -> bool:
    """Return whether upstream finds a model that writes text by this configuration.

    Args:
        config: transformers', or one of the model's own code.
        trusted: whether code of the model's own may run.
    """
    kinds = (*_KINDS, AutoModelForCausalLM)
    own = trusted and bool(getattr(config, "auto_map", None))
    return own or any(type(config) in kind._model_mapping for kind in kinds)


def is_own_code(config: Any) -> bool:
    """Tell whether a configuration is of code that came with the model, which has run then."""
    return type(config).__module__.startswith("transformers_modules")


def skeleton(config: Any, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Return the model on the meta device, of the class that upstream loads."""
    with torch.device("meta"):
        model: Any = random_model(config, dtype)
    with contextlib.suppress(AttributeError):
        model.tie_weights()
    bare: nn.Module = model
    return bare


def random_model(config: Any, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Return a model with random weights, of the class that upstream loads.

    Code of the model's own is run where its configuration is such code already.
    """
    kind = next((kind for kind in _KINDS if type(config) in kind._model_mapping), AutoModelForCausalLM)
    model: nn.Module = kind.from_config(config, dtype=dtype, trust_remote_code=is_own_code(config))
    return model


def lost_weights(model: nn.Module, found: Mapping[str, Any]) -> str | None:
    """Return what a model's files lack, or have in another shape, in words.

    None where they fit, as far as can be seen.

    Names that transformers may translate at loading are left out: there a tensor counts as lost where its like of
    another layer has the name it should have.

    Args:
        model: from the configuration, on the meta device.
        found: facts by name, as the headers of the files have them.
    """
    wanted = {name: list(weight.shape) for name, weight in model.named_parameters()}
    there = wanted.keys() & found.keys()
    kind = getattr(getattr(model, "config", None), "model_type", "")
    plain = kind in _PLAIN_NAMES
    if not there:
        return f"none of its tensors has a name of a {kind}" if plain and found else None
    kinds = {_DIGITS.sub("#", name) for name in there}
    ties: Mapping[str, str] = getattr(model, "all_tied_weights_keys", None) or {}
    stand_ins = {source for name, source in ties.items() if name in found}  # of two that are tied either will do
    absent = wanted.keys() - found.keys() - stand_ins
    lost = [name for name in wanted if name in absent and (plain or _DIGITS.sub("#", name) in kinds)]
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        return f"its files lack {lost[0]}{more}"
    for name in sorted(there):
        shape = list(found[name].get("shape", wanted[name]))
        if shape != wanted[name]:
            return f"{name} is {shape} in its files, and {wanted[name]} by its config.json"
        dtype = str(found[name].get("dtype", "F32"))
        if not dtype.startswith(("F", "BF")):
            return f"{name} is stored as {dtype}, which is no type of weights"
    return None
