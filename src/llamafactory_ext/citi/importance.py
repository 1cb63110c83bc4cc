"""Gradient importance of every linear component, from activations alone (CITI, arXiv:2409.13202, eq. 4).

What it does: I_h(D) = |sum(W * dL/dW)| with L the summed loss over all of D. For y = W x + b this equals
|sum over tokens <dL/dy, y - b>|, so no weight gradient is ever formed: a tap on each linear's output keeps y and, in
backward, adds one number. What it does not do: choose components (`selection.py`) or read data.

Signed sums are accumulated over batches and processes; the absolute value is taken once, at the end. That order
decides the outcome: taking it earlier (`reduction`) ranks differently.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..errors import OptionError

Reduction = Literal["dataset", "batch", "example", "token"]
REDUCTIONS: tuple[Reduction, ...] = ("dataset", "batch", "example", "token")
IGNORE_INDEX = -100


def linear_components(model: nn.Module) -> dict[str, nn.Linear]:
    """Every linear of the backbone by name, in the model's order; the output head is none of them.

    Raises:
        OptionError: the model has no linear modules.
    """
    get_head: Any = getattr(model, "get_output_embeddings", lambda: None)
    head = get_head()
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and not name.endswith("lm_head")
    }
    if not found:
        raise OptionError(
            f"{type(model).__name__} has no linear modules (torch.nn.Linear) beside its output head; CITI ranks "
            "linear components: choose a model built from them, such as Llama, Mistral or Phi-3."
        )
    return found


class _Sums:
    """Accumulated contributions per component, in float64."""

    def __init__(self, reduction: Reduction) -> None:
        self.reduction = reduction
        self.total: dict[str, Tensor] = {}
        self.batch: dict[str, Tensor] = {}

    def add(self, name: str, contribution: Tensor) -> None:
        """`contribution` (..., O): dL/dy * (y - b) of every token."""
        if self.reduction == "token":
            self._add(self.total, name, contribution.sum(-1, dtype=torch.float64).abs().sum())
        elif self.reduction == "example":
            if contribution.dim() != 3:
                raise OptionError(
                    f"{name} sees tokens without their example, so citi_importance_reduction: example is impossible "
                    "on this model; use dataset, batch or token."
                )
            self._add(self.total, name, contribution.sum((1, 2), dtype=torch.float64).abs().sum())
        else:
            self._add(self.batch, name, contribution.sum(dtype=torch.float64))

    def end_batch(self) -> None:
        for name, value in self.batch.items():
            self._add(self.total, name, value.abs() if self.reduction == "batch" else value)
        self.batch = {}

    @staticmethod
    def _add(sums: dict[str, Tensor], name: str, value: Tensor) -> None:
        sums[name] = sums[name] + value if name in sums else value


class _Tap(torch.autograd.Function):
    """The identity; in backward it adds <dL/dy, y - b>. Its saved y is dropped and recomputed under checkpointing."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, bias: Tensor | None, name: str, sums: _Sums) -> Tensor:
        ctx.save_for_backward(y, bias)
        ctx.name, ctx.sums = name, sums
        return y.view_as(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        y, bias = ctx.saved_tensors
        ctx.sums.add(ctx.name, grad * (y if bias is None else y - bias))
        return grad, None, None, None


@contextmanager
def _tapped(model: nn.Module, components: Mapping[str, nn.Linear], sums: _Sums) -> Iterator[None]:
    """Taps on; every parameter frozen, gradients start at the embeddings' output. Undone on exit."""

    def tap(name: str) -> Any:
        return lambda module, _, y: _Tap.apply(y, module.bias, name, sums)

    def require_grad(module: nn.Module, _: Any, output: Tensor) -> Tensor:
        return output.requires_grad_(True)

    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    embeddings: nn.Module = model.get_input_embeddings()  # type: ignore[operator]
    handles = [embeddings.register_forward_hook(require_grad)]
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


def score_components(
    model: nn.Module, batches: Iterable[Mapping[str, Tensor]], reduction: Reduction = "dataset"
) -> dict[str, float]:
    """I_h of every linear component over all batches, not normalised.

    Under torch.distributed each process passes its own batches; signed sums are added up before the absolute value.

    Args:
        model: a causal language model, no adapter on it. It is left as it was.
        batches: `input_ids`, `labels` (-100 is not trained) and whatever else the model's forward takes, (B, T) each.
            The loss is summed over tokens: how examples are batched matters to the reduction `batch` only.
        reduction: where the absolute value is taken: once over the data set (the paper's formula), or per batch,
            example or token and then summed.

    Returns:
        Component name to score, in the model's order; every score is >= 0.

    Raises:
        OptionError: no linear modules; no batch; no trained token.
    """
    components = linear_components(model)
    device = next(model.parameters()).device
    sums, trained = _Sums(reduction), 0
    with _tapped(model, components, sums):
        for batch in batches:
            inputs = {key: value.to(device) for key, value in batch.items() if isinstance(value, Tensor)}
            labels = inputs.pop("labels")
            trained += int((labels[:, 1:] != IGNORE_INDEX).sum())
            summed_nll(model(**inputs, use_cache=False).logits, labels).backward()
            sums.end_batch()
    values = torch.zeros(len(components) + 1, dtype=torch.float64, device=device)
    for i, name in enumerate(components):
        values[i] = sums.total.get(name, values[i])
    values[-1] = trained
    if torch.distributed.is_initialized():
        torch.distributed.all_reduce(values)
    if values[-1] == 0:
        raise OptionError("no token of the data is trained: is every answer empty, or cut off by `cutoff_len`?")
    return dict(zip(components, values[:-1].abs().tolist(), strict=True))


def summed_nll(logits_BTV: Tensor, labels_BT: Tensor) -> Tensor:
    """Next-token loss in nats, summed over trained tokens; only their logits are raised to float32."""
    kept = labels_BT[:, 1:] != IGNORE_INDEX
    logits_KV = logits_BTV[:, :-1][kept]
    logits_KV = logits_KV.to(torch.promote_types(logits_KV.dtype, torch.float32))
    return nn.functional.cross_entropy(logits_KV, labels_BT[:, 1:][kept], reduction="sum")
