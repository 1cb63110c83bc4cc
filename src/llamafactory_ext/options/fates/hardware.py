"""Conditions on the options of hardware that libraries look at late: compiler, 8 bits, accelerate's own settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .row import Command


def compiler_problems(command: Command) -> list[str]:
    """Find a backend or a mode of the compiler that accelerate or torch does not know."""
    from accelerate.utils import DynamoBackend

    if not command.torch_compile:  # which a backend or a mode switches on
        return []
    problems = []
    backend, mode = command.torch_compile_backend, command.torch_compile_mode
    known = [kind.value.lower() for kind in DynamoBackend]
    if backend is not None and str(backend).lower() not in known:
        problems.append(f"torch_compile_backend={backend} does not exist; take one of {', '.join(known)}")
    if mode is not None and (fault := _mode_fault(mode)):
        problems.append(f"torch_compile_mode={mode}: {fault}; correct it, or remove it")
    return problems


def _mode_fault(mode: Any) -> str:
    import torch._inductor

    try:
        torch._inductor.list_mode_options(mode)
    except Exception as error:  # of torch's many kinds
        return " ".join(str(error).split())[:200]
    return ""


def float8_problems(command: Command) -> list[str]:
    """Find training in 8 bits without the package that computes in them; accelerate looks for it as steps begin."""
    if not command.fp8 or not command.allows("fp8"):
        return []
    known, backend = ("auto", "torchao", "te"), str(command.fp8_backend)
    if backend not in known:
        return [f"fp8_backend={backend} does not exist; take one of {', '.join(known)}"]
    modules = {"te": ("transformer_engine",), "torchao": ("torchao",)}.get(backend, ("torchao", "transformer_engine"))
    if any(name in sys.modules or find_spec(name) is not None for name in modules):
        return []
    package = modules[0].replace("_", "-")
    return [f"fp8 needs the package {package}; pip install {package}, or remove the option"]


def fsdp_start_problems(command: Command) -> list[str]:
    """Find settings of FSDP that accelerate cannot begin with on this machine."""
    from accelerate import FullyShardedDataParallelPlugin
    from transformers.training_args import FSDPOption

    known = [word.value for word in FSDPOption]
    if strange := [str(word) for word in command.fsdp or () if getattr(word, "value", word) not in known]:
        return [f"fsdp: {', '.join(strange)} does not exist; take some of {', '.join(known)}"]
    settings = getattr(command.group_of("fsdp"), "fsdp_plugin_args", None)
    try:
        if settings:
            FullyShardedDataParallelPlugin(**settings)
    except Exception as error:  # of accelerate's and torch's kinds
        text = " ".join(str(error).split())[:200]
        return [f"fsdp does not start here ({text}); remove it, or correct fsdp_config"]
    return []


def accelerator_problems(command: Command) -> list[str]:
    """Find settings of accelerate that are none, or of a wrong type; LLaMA-Factory hands them on as they are."""
    from transformers.trainer_pt_utils import AcceleratorConfig

    given = command.given.get("accelerator_config")
    if isinstance(given, str) and not given.lstrip().startswith("{"):
        try:
            given = json.loads(Path(given).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            return [f"accelerator_config={given} cannot be read ({error}); name a JSON file, or write the settings"]
    elif isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError) as error:
            return [f"accelerator_config is no JSON ({error}); mend it"]
    if given is None:
        return []
    if not isinstance(given, Mapping):
        return [f"accelerator_config={given!r}: give names with values, such as {{split_batches: true}}"]
    known = {part.name: part for part in fields(AcceleratorConfig)}
    problems = []
    for name, value in given.items():
        if name not in known:
            problems.append(f"accelerator_config has no {name}; take one of {', '.join(known)}")
        elif isinstance(known[name].default, bool) and not isinstance(value, bool):
            problems.append(f"accelerator_config: {name} is {value!r}; write true or false")
    return problems
