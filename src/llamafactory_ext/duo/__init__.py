"""DATA's adapter as a PEFT method: a low and a high rank pair per linear, under gates per group of layers.

DATA, arXiv:2502.11482; where the released code and this room differ, the modules say so.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import peft  # noqa: F401  # before the modules below, which the registration imports as soon as PEFT is there

if TYPE_CHECKING:
    from .config import DataAdapterConfig
    from .layer import DataAdapterLinear
    from .model import DataAdapterModel
    from .registration import register

__all__ = ["DataAdapterConfig", "DataAdapterLinear", "DataAdapterModel", "register"]
_MODULES = {
    "DataAdapterConfig": "config",
    "DataAdapterLinear": "layer",
    "DataAdapterModel": "model",
    "register": "registration",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for, so that importing one module of the room imports no other."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
