"""What a base that is stored quantized allows: read from its configuration, before anything is loaded."""

from __future__ import annotations

from typing import Any

LINEAR = ("bitsandbytes", "None")  # of these the linears stay torch.nn.Linear; older files do not name it
UNPACKED = ("mxfp4", "fp8")  # upstream unpacks these at loading


def stored_quantization(config: Any) -> str | None:
    """Return the method that a configuration says its weights are quantized by; None where they are plain.

    So are those that are unpacked at loading.

    Args:
        config: transformers' configuration.
    """
    stated = getattr(config, "quantization_config", None)
    if stated is None:
        return None
    method = str(stated.get("quant_method") if isinstance(stated, dict) else getattr(stated, "quant_method", None))
    return None if method in UNPACKED else method


def full_tuning_problem(config: Any, finetuning_type: str) -> str | None:
    """Say why a base that is stored quantized cannot be tuned in full; None where it can, or is not to be.

    Args:
        config: transformers' configuration.
        finetuning_type: of the command.
    """
    method = stored_quantization(config)
    if method is None or finetuning_type not in ("full", "freeze"):
        return None
    return (
        f"the base is quantized ({method}), and finetuning_type: {finetuning_type} cannot move such weights; set "
        "finetuning_type: lora, or name the unquantized model"
    )
