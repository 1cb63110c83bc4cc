"""Which modules of a model a configuration targets, and whether each can carry an adapter: before any is changed."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer, _maybe_include_all_linear_layers
from torch import nn

from ..errors import OptionError
from .config import MoLoraConfig
from .layer import MoLoraLinear


def check_targets(model: nn.Module, config: MoLoraConfig) -> int:
    """Make sure that all targets are linears that an adapter can stand beside; return how many there are.

    Raises:
        OptionError: some are not; the message names each kind once.
    """
    problems: dict[str, list[str]] = {}
    targets = 0
    parents = dict(model.named_modules())
    for name, module in _targets(model, config):
        targets += 1
        if problem := _problem(module, parents[name.rpartition(".")[0]]):
            problems.setdefault(problem, []).append(name)
    if problems:
        texts = [f"{_few(names)}, {problem}" for problem, names in problems.items()]
        raise OptionError(f"target_modules names {'; and '.join(texts)}.")
    return targets


def _targets(model: nn.Module, config: MoLoraConfig) -> Iterator[tuple[str, nn.Module]]:
    # PEFT replaces the word by names in the configuration it is given.
    config = _maybe_include_all_linear_layers(copy.copy(config), model)
    inside: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if not name or name.startswith(inside):
            continue
        if isinstance(module, BaseTunerLayer):
            inside = (*inside, f"{name}.")
        found: Any = BaseTuner._check_target_module_exists(config, name)
        if found:
            yield name, module


def _problem(module: nn.Module, parent: nn.Module) -> str | None:
    """Say why an adapter cannot stand here, with the next step; None if it can."""
    kind = type(module)
    if isinstance(module, MoLoraLinear):
        return None
    if isinstance(module, BaseTunerLayer):
        method = kind.__module__.removeprefix("peft.tuners.").partition(".")[0]
        return (
            f"where an adapter of another PEFT method stands ({method}.{kind.__name__}). MOLoRA needs the linear "
            "itself: end the other with `merge_and_unload()` or `unload()` first, or take the layer out of the list"
        )
    if isinstance(parent, nn.MultiheadAttention):
        return (
            "inside an nn.MultiheadAttention, which reads the linear's weight and never calls it; take it out of the "
            "list"
        )
    if not isinstance(module, nn.Linear):
        return f"of the class {kind.__name__}. MOLoRA adapts linear layers only; take it out of the list"
    return None


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
