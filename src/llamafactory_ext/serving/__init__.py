"""Exported models: self-contained directories of the types that the methods' rows name; inference; dialogues."""

from typing import Any

__all__ = ["MODEL_TYPES", "register"]


def __getattr__(name: str) -> Any:
    """Import the model classes, and transformers with them, when they are asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import modeling

    return getattr(modeling, name)
