"""What a run with `finetuning_type: data` takes: the tokens of its examples; and what no model can hold."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..duo.targets import decoder_layers
from ..errors import ExtError
from ..training.quantized import stored_quantization
from .adapter import given_of


def lengths(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> list[int]:
    """Return the tokens of every training example, and say what becomes of the records."""
    from .workflow import training_rows

    rows = training_rows(model_args, data_args, training_args, finetuning_args)
    return [len(ids) for ids in rows["input_ids"]]


def early_problems(model: Any, finetuning_args: Any) -> list[str]:
    """Return a sentence for each size of the adapter that the model has no place for.

    Args:
        model: on the meta device; None where its configuration does not tell.
        finetuning_args: upstream's group of the options.
    """
    if model is None:
        return []
    if (method := stored_quantization(model.config)) is not None:
        return [f"the base is quantized ({method}), and DATA adapts plain linears only; name the unquantized model"]
    try:
        layers = decoder_layers(model)
    except ExtError as error:
        return [error.message.rstrip(".")]
    linears = [module for module in next(iter(layers.values())).modules() if isinstance(module, nn.Linear)]
    widest = max(max(linear.in_features, linear.out_features) for linear in linears)
    hidden = linears[0].in_features
    limits = {
        "data_low_rank": (widest, "is above {limit}, the largest width of the model's linears"),
        "data_high_rank": (widest, "is above {limit}, the largest width of the model's linears"),
        "data_components": (hidden, "would need {value} rows per gate, which the model's width of {limit} has not"),
        "data_layers_per_gate": (len(layers), "is above {limit}, the number of the model's layers"),
    }
    given = given_of(finetuning_args)  # the defaults fit small models as they can
    return [
        f"{name}={value} {text.format(limit=limit, value=value)}; lower it"
        for name, (limit, text) in limits.items()
        if name in given and (value := getattr(finetuning_args, name)) > limit
    ]
