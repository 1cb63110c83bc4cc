"""A command that is estimated for GPUs which are not here: its engine is kept in mind, and nothing asks for a GPU."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...training.scale import Engine
from .command import RawArgs, without

ENGINE = "dry_run_engine"  # an attribute of the fine-tuning options
_OF_ENGINES = {"deepspeed", "fsdp", "fsdp_config", "use_cpu", "no_use_cpu", "flash_attn", "tf32"}


def for_other_gpus(args: RawArgs, given: Mapping[str, Any]) -> tuple[RawArgs, Engine | None]:
    """Return the command as it can be parsed on any machine, and the engine that it asks for.

    Args:
        args: the command as it was typed.
        given: its options by the names of fields.

    Returns:
        The same command and None where it is for the machine at hand.
    """
    if args is None or not _is_on(given.get("dry_run")):
        return args, None
    more: dict[str, Any] = {"use_cpu": True}
    if str(given.get("dry_run_gpus", 0)) in ("0", "0.0", "None"):
        if (processes := _unable(given)) is None:
            return args, None
        more["dry_run_gpus"] = processes
    left, engine = without(args, _OF_ENGINES | more.keys()), engine_of(given)
    if isinstance(left, dict):
        return {**left, **more}, engine
    words = [word for name, value in more.items() for word in (f"--{name}", str(value))]
    return [*(left or []), *words], engine


def _unable(given: Mapping[str, Any]) -> int | None:
    """Return for how many processes to compute a run whose engine cannot be tried here; None where it can."""
    engine, processes = engine_of(given), int(os.environ.get("WORLD_SIZE", "1"))
    if engine == "ddp" or (processes > 1 and (engine == "fsdp" or find_spec("deepspeed") is not None)):
        return None
    return processes


def engine_of(given: Mapping[str, Any]) -> Engine:
    """Return the engine that options name; DDP where they name none, or where its file cannot be read."""
    if given.get("fsdp"):
        return "fsdp"
    settings = given.get("deepspeed")
    try:
        read = settings if isinstance(settings, Mapping) else json.loads(Path(str(settings)).read_text("utf-8"))
        stage = read["zero_optimization"]["stage"]
    except (OSError, ValueError, KeyError, TypeError):
        return "ddp"
    engines: dict[Any, Engine] = {1: "zero1", 2: "zero2", 3: "zero3"}
    return engines.get(stage, "ddp")


def _is_on(value: Any) -> bool:
    return str(value).lower() in ("true", "yes", "1", "t", "y")
