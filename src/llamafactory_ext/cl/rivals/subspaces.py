"""OSF's training: LoRA's pair holds the small singular directions of a weight, the base the large ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from .formulas import split, without_columns, without_rows
from .lora_files import Pairs


class Subspaces(TrainerCallback):
    """Split every adapted weight when the trainer is made, and project the gradients before each optimiser step.

    The pair's rank must have room for all directions that are not kept; rows of it beyond them stay zero.

    Args:
        kept: share of the singular directions that are frozen.

    Attributes:
        frozen: U and V of the frozen directions, by linear.
    """

    def __init__(self, *, kept: float) -> None:
        self.kept = kept
        self.frozen: dict[str, tuple[Tensor, Tensor]] = {}
        self._start: dict[str, Tensor] = {}
        self._rest: dict[str, Tensor] = {}

    def on_init_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Move the small directions from the base's weight into the pair."""
        for name, layer in linears(model):
            weight = layer.base_layer.weight
            self._start[name] = weight.detach().cpu().clone()
            u, v, b, a = split(weight.detach().float(), self.kept)
            self.frozen[name] = u, v
            with torch.no_grad():
                _fill(layer.lora_A["default"].weight, a, rows=a.shape[0])
                _fill(layer.lora_B["default"].weight.T, b.T / layer.scaling["default"], rows=a.shape[0])
                weight.copy_((weight.float() - b @ a).to(weight.dtype))
            self._rest[name] = weight.detach().cpu().clone()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Take from the gradients what lies in the frozen directions."""
        for name, layer in linears(model):
            u, v = self.frozen[name]
            a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            if a.grad is not None and b.grad is not None:
                a.grad.copy_(without_rows(a.grad, v.to(a.grad)))
                b.grad.copy_(without_columns(b.grad, u.to(b.grad)))

    def changes(self, pairs: Pairs) -> dict[str, Tensor]:
        """Return by how much each weight has changed in this task.

        Args:
            pairs: as trained, with their scale.
        """
        return {name: self._rest[name].float() + b @ a - self._start[name].float() for name, (a, b) in pairs.items()}


def linears(model: Any) -> Iterator[tuple[str, Any]]:
    """Return the linears of a PEFT model that have a LoRA, by the name that the base model gives them."""
    for name, layer in model.base_model.model.named_modules():
        if hasattr(layer, "lora_A") and "default" in layer.lora_A:
            yield name, layer


def _fill(into: Tensor, values: Tensor, rows: int) -> None:
    into.zero_()
    into[:rows] = values.to(into.dtype)
