"""Models that are quantized already: whether the package that unpacks them is here, before anything is loaded."""

from __future__ import annotations

import copy
from typing import Any

from ...training.quantized import UNPACKED


def quantizer_problems(model_args: Any, option: str) -> list[str]:
    """Return a sentence where a model's quantization cannot be used here.

    Args:
        model_args: upstream's group of the options, whose model has a usable config.json.
        option: the option that names the model, with its value.
    """
    from transformers.quantizers.auto import AutoHfQuantizer

    from .skeleton import config_of

    config = config_of(model_args)
    if not hasattr(config, "quantization_config"):
        return []
    stated = copy.deepcopy(config.quantization_config)
    method = stated.get("quant_method") if isinstance(stated, dict) else getattr(stated, "quant_method", None)
    if not isinstance(stated, dict) or (method is None and not stated.get("load_in_4bit", stated.get("load_in_8bit"))):
        return [
            f"{option}: quantization_config in its config.json names no quant_method; get the model again, or remove "
            "quantization_config if its weights are plain"
        ]
    if method in UNPACKED:
        return []
    try:
        if AutoHfQuantizer.supports_quant_method(stated):  # others are passed over, as transformers warns
            AutoHfQuantizer.from_config(stated, pre_quantized=True).validate_environment(
                dtype=getattr(config, "dtype", None), device_map=None, weights_only=True
            )
    except Exception as error:  # of transformers' code for each method, which loading would meet
        text = " ".join(str(error).split())[:300]
        return [
            f"{option} is quantized ({method}), which does not work here ({type(error).__name__}: {text}); install "
            "what is missing, or name a model that is not quantized"
        ]
    return []
