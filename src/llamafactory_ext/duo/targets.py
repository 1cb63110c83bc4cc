"""Which linears of a model carry a pair, and to which decoder layer each belongs: before any is changed."""

from __future__ import annotations

import re
from typing import Any

from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import nn

from ..errors import OptionError
from .config import DataAdapterConfig
from .gate import DataAdapterLayer


def decoder_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the decoder layers by name, in order.

    They are the longest list of layers of one class that hold linears, within what `get_decoder` gives.

    Raises:
        OptionError: there is no such list.
    """
    find: Any = getattr(model, "get_decoder", None)
    decoder = find() if callable(find) else None
    root = decoder if isinstance(decoder, nn.Module) else model
    lists = [
        module
        for module in root.modules()
        if isinstance(module, nn.ModuleList)
        and len({type(layer) for layer in module}) == 1
        and any(isinstance(part, nn.Linear) for part in module[0].modules())
    ]
    if not lists:
        raise OptionError(f"{type(model).__name__} has no list of decoder layers with linears, which DATA adapts.")
    chosen = max(lists, key=len)
    return {name: module for name, module in model.named_modules() if any(module is layer for layer in chosen)}


def check_targets(model: nn.Module, config: DataAdapterConfig) -> tuple[dict[str, nn.Module], list[str]]:
    """Return the decoder layers and the names of the linears that get a pair.

    Raises:
        OptionError: a target can carry none; the message names each kind once.
    """
    layers = decoder_layers(model)
    within = tuple(f"{name}." for name in layers)
    names: list[str] = []
    problems: dict[str, list[str]] = {}
    word = isinstance(config.target_modules, str) and config.target_modules.lower() == "all-linear"
    inside: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if not name or name.startswith(inside):
            continue
        if isinstance(module, BaseTunerLayer):
            inside = (*inside, f"{name}.")
        if config.target_modules is None or word:
            chosen = name.startswith(within) and _is_linear(module) and not _excluded(config, name)
        else:
            found: Any = BaseTuner._check_target_module_exists(config, name)
            chosen = bool(found)
        if chosen:
            names.append(name)
            if problem := _problem(name, module, within):
                problems.setdefault(problem, []).append(name)
    if problems:
        texts = [f"{_few(found)}, {problem}" for problem, found in problems.items()]
        raise OptionError(f"target_modules names {'; and '.join(texts)}.")
    if not names:
        raise OptionError(
            f"target_modules={config.target_modules!r} names no linear of the model; give names of its decoder "
            "layers' linears, or leave it out for all of them."
        )
    return layers, names


def _is_linear(module: nn.Module) -> bool:
    base = module.get_base_layer() if isinstance(module, BaseTunerLayer) else module
    return isinstance(base, nn.Linear)


def _excluded(config: DataAdapterConfig, name: str) -> bool:
    if not config.exclude_modules and not config.modules_to_save:
        return False
    listed: Any = [*(config.modules_to_save or [])]
    if isinstance(config.exclude_modules, str):
        return re.fullmatch(config.exclude_modules, name) is not None
    listed += config.exclude_modules or []
    return any(name == one or name.endswith(f".{one}") for one in listed)


def _problem(name: str, module: nn.Module, within: tuple[str, ...]) -> str | None:
    """Say why a pair cannot stand here, with the next step; None if it can."""
    kind = type(module)
    if isinstance(module, BaseTunerLayer) and not isinstance(module, DataAdapterLayer):
        method = kind.__module__.removeprefix("peft.tuners.").partition(".")[0]
        return (
            f"where an adapter of another PEFT method stands ({method}.{kind.__name__}). DATA needs the linear "
            "itself: end the other with `merge_and_unload()` or `unload()` first, or take the layer out of the list"
        )
    if not _is_linear(module):
        return f"of the class {kind.__name__}. DATA adapts linear layers only; take it out of the list"
    if not name.startswith(within):
        return "outside the decoder layers, where no gate is open; take it out of the list"
    return None


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
