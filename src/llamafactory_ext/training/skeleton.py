"""A model without its weights: its modules on the meta device, made from its configuration alone."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Collection, Mapping
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
_PLAIN_NAMES = (
    *("llama", "mistral", "phi3", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "smollm3", "qwen3_5_text"),
)
# Published models of text and pictures have the text's layers there, and those of text alone may keep that.
_INNER, _OUTER = "model.language_model.", "model."
_EXPERT = re.compile(r"(?P<experts>.+\.experts)\.(?P<number>\d+)\.\w+\.weight")
# In files of earlier libraries, and computed anew at loading.
_COMPUTED = re.compile(r"\.(rotary_emb\.inv_freq|masked_bias|attn\.bias)$")
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
    found = _as_wanted(found, wanted)
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
    return _strange_experts(wanted, found)


def _as_wanted(found: Mapping[str, Any], wanted: Collection[str]) -> Mapping[str, Any]:
    """Return what files hold, under the names that a model of text alone gives them."""
    if any(name.startswith(_INNER) for name in wanted):
        return found
    return {re.sub(f"^{re.escape(_INNER)}", _OUTER, name): facts for name, facts in found.items()}


def _strange_experts(wanted: Mapping[str, list[int]], found: Mapping[str, Any]) -> str | None:
    """Return where files hold other experts, one by one, than the model has in one tensor."""
    stored: dict[str, set[int]] = {}
    sizes: dict[str, int] = {}
    for name, facts in found.items():
        if (one := _EXPERT.fullmatch(name)) is not None and name not in wanted:
            stored.setdefault(one["experts"], set()).add(int(one["number"]))
            sizes[one["experts"]] = sizes.get(one["experts"], 0) + math.prod(facts.get("shape", []))
    for place, numbers in stored.items():
        shapes = [shape for name, shape in wanted.items() if name.startswith(f"{place}.") and len(shape) > 2]
        if shapes and {*numbers} != {*range(shapes[0][0])}:
            return f"{place} are {len(numbers)} in its files, and {shapes[0][0]} by its config.json"
        if shapes and sizes[place] != sum(map(math.prod, shapes)):
            return f"{place} have other sizes in its files than by its config.json"
    return None


def surplus_weights(model: nn.Module, found: Mapping[str, Any]) -> str | None:
    """Return what a model's files hold inside its layers and its configuration has no place for, in words.

    None where there is no such thing, as far as can be seen. Loading would leave it out and go on with another model
    than the one that was trained. Parts beside the layers, such as towers or heads of other tasks, are nobody's fault.

    Args:
        model: from the configuration, on the meta device.
        found: facts by name, as the headers of the files have them.
    """
    wanted = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    found = _as_wanted(found, wanted)
    kind = getattr(getattr(model, "config", None), "model_type", "")
    ignored = [re.compile(form) for form in getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()]
    biasless = {f"{name}.bias" for name, module in model.named_modules() if isinstance(module, nn.Linear)} - wanted
    odd = [
        name
        for name in found
        if name not in wanted
        and (name in biasless or (kind in _PLAIN_NAMES and name.startswith("model.layers.")))
        and not _COMPUTED.search(name)
        and not any(form.search(name) for form in ignored)
    ]
    if not odd:
        return None
    more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
    return f"its files hold {min(odd, key=_by_layer)}{more}, for which a {kind} of its config.json has no place"


def _by_layer(name: str) -> tuple[list[int], str]:
    return [int(number) for number in _DIGITS.findall(name)], name
