"""Exported models in vLLM: what the entry point `vllm.general_plugins` calls in every process of vLLM.

`vllm serve DIR` and `LLM(DIR)` then run the types that the methods' rows name. No code from the model's directory is
executed. Nothing of vLLM is imported before `register` is called.
"""

from __future__ import annotations

from ...families import FAMILIES
from ...methods import load, methods

PACKAGE = "llamafactory_ext.serving.vllm_plugin"
NAME = "llamafactory_ext"
"""Of the parser of tool calls in all formats; that of one format has `_` and the format's name behind it."""
EXPORTS = tuple(row.adapter for row in methods() if row.adapter and row.adapter.vllm)
ARCHITECTURES = {f"{adapter.prefix}{row.model}": adapter.vllm for adapter in EXPORTS for row in FAMILIES}
"""The exported classes' names, each with the module that makes it."""


def register() -> None:
    """Make the exported types known to vLLM and transformers; a second call does nothing."""
    from vllm import ModelRegistry
    from vllm.tool_parsers import ToolParserManager

    from ..._report import install_excepthook
    from ...toolcalls import FORMATS
    from ..modeling import register as register_with_transformers
    from .checks import register_checks

    install_excepthook()
    register_with_transformers()
    known = ModelRegistry.get_supported_archs()
    for name, module in ARCHITECTURES.items():
        if name not in known:  # by name, not by class: importing the models here might touch the GPU before a fork
            ModelRegistry.register_model(name, f"{module}:{name}")
    for form in ("", *FORMATS):
        suffix = f"_{form}" if form else ""
        ToolParserManager.register_lazy_module(f"{NAME}{suffix}", f"{PACKAGE}.tool_parser", f"CallParser{suffix}")
    for adapter in EXPORTS:
        if adapter.vllm_check:
            register_checks(adapter.prefix, load(adapter.vllm_check))
