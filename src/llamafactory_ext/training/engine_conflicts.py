"""What no method of ours gets along with in FSDP and DeepSpeed, and where they contradict a command."""

import os
from typing import Any


def fsdp_problems(training_args: Any, method: str) -> list[str]:
    """Return what none of our methods gets along with in FSDP.

    `method` is the option that chose it, as it is shown.
    """
    problems = []
    settings = training_args.fsdp_config if training_args.fsdp else {}
    version = settings.get("version", 1) if training_args.fsdp else os.environ.get("FSDP_VERSION", "1")
    if str(version) != "2":
        problems.append(
            f"fsdp: {method} works with version 2 of FSDP; set fsdp_config: {{version: 2}}, or fsdp_version: 2 in the "
            "configuration of accelerate"
        )
    if settings.get("activation_checkpointing") or is_set("FSDP_ACTIVATION_CHECKPOINTING"):
        problems.append(
            "fsdp_config: activation_checkpointing renames the weights; remove it, as gradient checkpointing is on "
            "unless disable_gradient_checkpointing says otherwise"
        )
    return problems


def source_of(training_args: Any) -> str:
    """Return what to call DeepSpeed's configuration."""
    return training_args.deepspeed if isinstance(training_args.deepspeed, str) else "its configuration"


def mismatches(training_args: Any) -> list[str]:
    """Return where DeepSpeed's configuration and the command say different things."""
    return [
        f"deepspeed: {source_of(training_args)} and the command differ ({line.removeprefix('- ')}); set the value in "
        "it to auto"
        for line in training_args.hf_deepspeed_config.mismatches
    ]


def is_set(variable: str) -> bool:
    """Tell whether accelerate takes a variable of the environment for switched on."""
    return os.environ.get(variable, "").lower() in ("1", "true", "yes")
