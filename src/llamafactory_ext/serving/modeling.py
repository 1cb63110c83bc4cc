"""Makes the exported model types of all methods known to transformers, by the methods' rows."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, AutoModelForCausalLM

from ..methods import load, methods

MODEL_TYPES: dict[str, tuple[Any, Any]] = {
    name: classes for row in methods() if row.adapter for name, classes in load(row.adapter.model_types).items()
}


def register() -> None:
    """Make the exported types known to transformers' auto classes; a second call does nothing."""
    for model_type, (config, model) in MODEL_TYPES.items():
        AutoConfig.register(model_type, config, exist_ok=True)
        AutoModelForCausalLM.register(config, model, exist_ok=True)


register()  # `_registration.py` imports this module for it
