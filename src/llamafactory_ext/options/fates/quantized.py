"""Conditions of quantized bases: each takes the command and returns a sentence per problem."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from .row import Command, column_of

_QUANTIZERS = {"bnb": "bitsandbytes", "hqq": "hqq", "eetq": "eetq"}
_BITS = {"bnb": (4, 8), "hqq": (1, 2, 3, 4, 5, 6, 8), "eetq": (8,)}


def quantization_problems(command: Command) -> list[str]:
    """Find quantization by a package that is not installed; a base that is quantized already goes by its own."""
    from transformers import AutoConfig

    if command.quantization_bit is None or _never_quantized(command):
        return []
    method = str(getattr(command.quantization_method, "value", command.quantization_method))
    package = _QUANTIZERS.get(method)
    if package is None:
        return [
            f"quantization_method={method} quantizes no model at its loading; take one of {', '.join(_QUANTIZERS)}"
        ]
    if command.quantization_bit not in _BITS[method]:
        return [
            f"quantization_bit={command.quantization_bit} is nothing that {method} does; take "
            f"{' or '.join(map(str, _BITS[method]))}"
        ]
    if package in sys.modules or find_spec(package) is not None:
        return []
    try:
        config = AutoConfig.from_pretrained(
            command.model_name_or_path, trust_remote_code=command.trust_remote_code, cache_dir=command.cache_dir
        )
    except (OSError, ValueError):
        config = None  # said elsewhere
    if getattr(config, "quantization_config", None) is not None:
        return []
    return [f"quantization_bit needs the package {package}; pip install {package}, or remove the option"]


def _never_quantized(command: Command) -> bool:
    """Tell whether the method refuses a quantized base anyway, whatever is installed."""
    refuses = column_of(command.method).never_quantized
    return refuses is not None and refuses(command)
