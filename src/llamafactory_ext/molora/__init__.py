"""Mixture-of-LoRA adapters as a PEFT method (CITI, arXiv:2409.13202, section 3.1)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import peft  # noqa: F401  # before the modules below, which the registration imports as soon as PEFT is there

if TYPE_CHECKING:
    from .config import MoLoraConfig
    from .kernel import GateLoss
    from .layer import MoLoraLinear
    from .model import MoLoraModel
    from .registration import register

__all__ = ["GateLoss", "MoLoraConfig", "MoLoraLinear", "MoLoraModel", "register"]
_MODULES = {
    "GateLoss": "kernel",
    "MoLoraConfig": "config",
    "MoLoraLinear": "layer",
    "MoLoraModel": "model",
    "register": "registration",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for, so that importing one module of the room imports no other."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
