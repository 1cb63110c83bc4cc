"""Conditions of options about parts of the model.

Modules that an option names are looked up in the model's structure, without loading a weight.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn

from .row import Command, column_of

_ALL = "all"
_INDEX = re.compile(r"\.\d+\.")
_SHOWN = 12
_LIGER = ("enable_liger_kernel", "use_liger_kernel")
_OF_LIGER = ("cuda", "xpu", "npu")


def target_problems(command: Command) -> list[str]:
    """Find modules for adapters that the model does not have, or that hold no weights of a linear."""
    if command.finetuning_type not in ("lora", "oft"):
        return []
    targets = [name for name in _names(command.lora_target) if name != _ALL]
    kept = _names(command.additional_target)
    model = _structure(command) if targets or kept else None
    if model is None:
        return []
    modules = {name: module for name, module in model.named_modules() if name}
    anywhere = hasattr(model.config, "vision_config")  # there LLaMA-Factory looks for parts of names
    problems = []
    for target in targets:
        found = [
            name for name in modules if name == target or name.endswith(f".{target}") or (anywhere and target in name)
        ]
        if not found:
            problems.append(_missing("lora_target", target, _ends(modules, of=_is_linear)))
        elif not any(_is_linear(modules[name]) for name in found):
            known = _listed(_ends(modules, of=_is_linear))
            problems.append(f"lora_target: {target} is no linear layer of this model; take some of {known}")
    for target in kept:
        if not any(name.endswith(target) for name in modules):
            problems.append(_missing("additional_target", target, _ends(modules)))
    return problems


def freezing_problems(command: Command) -> list[str]:
    """Find modules to train beside frozen ones that the model does not have, looked for as LLaMA-Factory does."""
    if command.finetuning_type != "freeze":
        return []
    asked = [name for name in _names(command.freeze_trainable_modules) if name != _ALL]
    extra = _names(command.freeze_extra_modules)
    model = _structure(command) if asked or extra else None
    if model is None:
        return []
    names = [name for name, _ in model.named_parameters()]
    hidden = {re.split(r"\.[01]\.", name)[-1].partition(".")[0] for name in names if re.search(r"\.[01]\.", name)}
    others = {name.split(".")[-2] for name in names if "." in name and not _INDEX.search(name)}
    problems = [_missing("freeze_trainable_modules", name, hidden) for name in asked if name not in hidden]
    return problems + [_missing("freeze_extra_modules", name, others) for name in extra if name not in others]


def expert_problems(command: Command) -> list[str]:
    """Find a loss of the experts' routers under a recomputation that keeps gradients from them."""
    reenters = all(column_of(name).reentry for name in (command.method, command.finetuning_type))
    if not command.moe_aux_loss_coef or not reenters or not command.allows("moe_aux_loss_coef"):
        return []
    if command.disable_gradient_checkpointing or not command.use_reentrant_gc:
        return []
    return ["moe_aux_loss_coef has no gradient under recomputation with reentry; set use_reentrant_gc: false"]


def liger_problems(command: Command) -> list[str]:
    """Find Liger's kernels without a GPU: they are found missing in the first forward pass."""
    asked = [name for name in _LIGER if getattr(command, name) and command.allows(name)]
    if not asked or os.environ.get("TRITON_INTERPRET") == "1":
        return []
    if "liger_kernel" not in sys.modules and find_spec("liger_kernel") is None:
        return []  # said by the table
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if found is not None and found.type in _OF_LIGER and not command.use_cpu:
        return []
    return [f"{name} needs a GPU; remove it" for name in asked]


def _structure(command: Command) -> Any:
    """Return the model without weights; None where that cannot be had, and loading it will say why."""
    from transformers import AutoConfig, AutoModelForCausalLM

    trusted = {"trust_remote_code": command.trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(command.model_name_or_path, cache_dir=command.cache_dir, **trusted)
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, **trusted)
    except Exception:  # code of any model runs here; loading it says what is wrong, if anything is
        return None


def _names(value: Any) -> list[str]:
    """Return the names that an option holds; upstream leaves them as one text where it refuses the command anyway."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else list(value or ())


def _is_linear(module: nn.Module) -> bool:
    """Tell whether an adapter may go beside a module: it holds a matrix, and no other modules."""
    weight = getattr(module, "weight", None)
    return not any(True for _ in module.children()) and isinstance(weight, torch.Tensor) and weight.ndim > 1


def _ends(modules: dict[str, nn.Module], of: Any = None) -> list[str]:
    """Return the last parts of the names, each once, indices left out."""
    names = (name.rpartition(".")[2] for name, module in modules.items() if of is None or of(module))
    return [name for name in dict.fromkeys(names) if not name.isdecimal()]


def _missing(option: str, name: str, known: Collection[str]) -> str:
    close = get_close_matches(name, known, n=1)
    advice = f"did you mean {close[0]}?" if close else f"take some of {_listed(known)}"
    return f"{option}: this model has no module {name}; {advice}"


def _listed(names: Iterable[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:_SHOWN]) + (", ..." if len(shown) > _SHOWN else "")
