"""One pass over data with a tap on each linear, which sees its input, its output and the gradient of that.

What it does: freezes everything, lets gradients begin at the embeddings' output, and runs the summed loss without full
logits. What it does not do: add anything up; that is what the sums of `importance.py` and `alternatives.py` do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..training.losses import IGNORE_INDEX, head_deferred, plain_head, summed_nll


class Sums(Protocol):
    """What a pass adds up.

    Attributes:
        backward: whether it needs gradients; without them the pass is forward only.
    """

    backward: bool

    def begin_batch(self, inputs: Mapping[str, Tensor]) -> None:
        """Look at what the model gets."""

    def tap(self, name: str, module: nn.Linear, x: Tensor, y: Tensor) -> Tensor:
        """Return the output y of a component, with a `Tap` behind it if its gradient counts."""

    def end_batch(self) -> None:
        """Close the batch."""


class Tap(torch.autograd.Function):
    """The identity; in backward it hands the gradient and what it kept to a function.

    What it keeps is dropped and recomputed under checkpointing.
    """

    @staticmethod
    def forward(ctx: Any, y: Tensor, kept: Tensor, see: Callable[[Tensor, Tensor], None]) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.see = see
        return y.data  # the same numbers; a view must not be changed in place, which some models do

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        ctx.see(grad, *ctx.saved_tensors)
        return grad, None, None


@contextmanager
def tapped(model: nn.Module, components: Mapping[str, nn.Linear], sums: Sums) -> Iterator[None]:
    """Put taps on; every parameter is frozen, gradients start at the embeddings' output. Undone on exit."""

    def tap(name: str) -> Any:
        return lambda module, args, y: sums.tap(name, module, args[0], y)

    def require_grad(module: nn.Module, _: Any, output: Tensor) -> Tensor:
        return output.requires_grad_(True)

    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    embeddings: nn.Module = model.get_input_embeddings()  # type: ignore[operator]
    handles = [embeddings.register_forward_hook(require_grad)] if sums.backward else []
    handles += [module.register_forward_hook(tap(name)) for name, module in components.items()]
    try:
        for parameter in trainable:
            parameter.requires_grad_(False)
        yield
    finally:
        for handle in handles:
            handle.remove()
        for parameter in trainable:
            parameter.requires_grad_(True)


def run_pass(
    model: nn.Module, batches: Iterable[Mapping[str, Tensor]], components: Mapping[str, nn.Linear], sums: Sums
) -> int:
    """Send the batches through the model, and return how many tokens of them have a loss.

    Args:
        model: a causal language model; it is left as it was.
        batches: `input_ids`, `labels` and whatever else the model's forward takes, (B, T) each.
        components: the linears to tap, by name.
        sums: what sees them.
    """
    device = next(model.parameters()).device
    head = plain_head(model) if sums.backward else None
    trained = 0
    with tapped(model, components, sums):
        for batch in batches:
            inputs = {key: value.to(device) for key, value in batch.items() if isinstance(value, Tensor)}
            labels = inputs.pop("labels")
            trained += int((labels[:, 1:] != IGNORE_INDEX).sum())
            sums.begin_batch(inputs)
            if sums.backward:
                with head_deferred(head):
                    states_BTX = model(**inputs, use_cache=False).logits
                summed_nll(states_BTX, labels, head).backward()
            else:
                with torch.no_grad():
                    model(**inputs, use_cache=False, logits_to_keep=1)
            sums.end_batch()
    return trained
