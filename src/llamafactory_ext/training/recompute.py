"""Which layers keep their activations and which compute them again (gradient checkpointing), per phase.

Upstream recomputes only layers that hold trainable parameters. A method may train a few linears of scattered layers:
every layer above the lowest of them keeps all its activations then. Here all of these are recomputed but the last,
whose backward follows at once; the layers below keep nothing anyway, as no gradient reaches them. Always non-
reentrant, which also needs no gradient at a layer's input.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

_FUNCTION = "_gradient_checkpointing_func"


def _direct(function: Any, *args: Any) -> Any:
    return function(*args)


def recompute_from_lowest_trained(model: nn.Module) -> None:
    """Set the policy on a model whose gradient checkpointing is on; after every change of what is trainable."""
    function: Any = _direct
    layers = _layers(model)
    for layer in layers:
        if any(parameter.requires_grad for parameter in layer.parameters()):
            function = _recompute
        setattr(layer, _FUNCTION, _direct if layer is layers[-1] else function)


@contextmanager
def recompute_everywhere(model: nn.Module) -> Iterator[None]:
    """Let every layer be recomputed within although nothing is trainable; for importance."""
    layers = _layers(model)
    functions = [getattr(layer, _FUNCTION) for layer in layers]
    try:
        for layer in layers:
            setattr(layer, _FUNCTION, _recompute)
        yield
    finally:
        for layer, function in zip(layers, functions, strict=True):
            setattr(layer, _FUNCTION, function)


_recompute = partial(checkpoint, use_reentrant=False)


def _layers(model: nn.Module) -> list[nn.Module]:
    """Return the layers under gradient checkpointing, in the model's order; none if it is off."""
    return [module for module in model.modules() if _recomputes(module)]


def _recomputes(module: nn.Module) -> bool:
    return (
        isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing and hasattr(module, _FUNCTION)
    )
