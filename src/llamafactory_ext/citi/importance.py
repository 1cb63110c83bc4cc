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
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..errors import OptionError
from ..training.devices import widest
from ..training.losses import IGNORE_INDEX, head_deferred, plain_head, summed_nll
from ..training.parameters import backbone_linears
from ..training.processes import sum_of_all

Reduction = Literal["dataset", "batch", "example", "token"]
REDUCTIONS: tuple[Reduction, ...] = ("dataset", "batch", "example", "token")


def linear_components(model: nn.Module) -> dict[str, nn.Linear]:
    """Every linear of the backbone by name, in the model's order; the output head is none of them.

    Raises:
        OptionError: the model has no linear modules.
    """
    found = backbone_linears(model)
    if not found:
        raise OptionError(
            f"{type(model).__name__} has no linear modules (torch.nn.Linear) beside its output head; CITI ranks "
            "linear components: choose a model built from them, such as Llama, Mistral or Phi-3."
        )
    return found


TIED_TYPES = ("llama", "mistral")
TIES = (("k_proj", "q_proj"), ("v_proj", "o_proj"), ("up_proj", "down_proj"))  # tapped, and what equals it
CHECKED_BATCHES = 8
# Of what chance would leave, rounding leaves below 1e-3 (float32) or 0.01 (16 bits), a real sum about 0.1 or more.
VANISHING, VANISHING_HALF = 1e-3, 0.02


def tied_components(model: nn.Module, components: Mapping[str, nn.Linear]) -> dict[str, str]:
    """Components whose signed sum over an example equals another's exactly: name to the name that stands for both.

    In bias-free Llama and Mistral the loss does not change when one of two linears grows by a factor and the other
    shrinks by it, so <W, dL/dW> is the same for both: q and k, v and o, up and down. The one with the narrower or
    anyway kept output is the one computed. A bias on the tapped one breaks the tie, as it does not scale along.
    """
    config = getattr(model, "config", None)
    if getattr(config, "model_type", None) not in TIED_TYPES:
        return {}
    ties = {}
    for name, module in components.items():
        parent, _, leaf = name.rpartition(".")
        for tapped, other in TIES:
            partner = components.get(f"{parent}.{tapped}")
            # q and k both sit before a bilinear form: neither may have a bias. Behind v and up, o's and down's may.
            unbiased = partner is not None and partner.bias is None and (other != "q_proj" or module.bias is None)
            if leaf == other and unbiased:
                ties[name] = f"{parent}.{tapped}"
    return ties


class _Sums:
    """Accumulated contributions per component, in float64 where the device has it."""

    def __init__(self, reduction: Reduction) -> None:
        self.reduction = reduction
        self.total: dict[str, Tensor] = {}
        self.batch: dict[str, Tensor] = {}
        self.checked = 0
        self.left: dict[str, Tensor] = {}  # sum over examples of |sum|: what is left after cancelling
        self.moved: dict[str, Tensor] = {}  # sum over examples of the root of squares: what chance alone would leave

    def add(self, name: str, contribution: Tensor) -> None:
        """`contribution` (..., O): dL/dy * (y - b) of every token."""
        wide = widest(contribution.device)
        if self.reduction == "token":
            self._add(self.total, name, contribution.sum(-1, dtype=wide).abs().sum())
        elif self.reduction == "example":
            if contribution.dim() != 3:
                raise OptionError(
                    f"{name} sees tokens without their example, so citi_importance_reduction: example is impossible "
                    "on this model; use dataset, batch or token."
                )
            self._add(self.total, name, contribution.sum((1, 2), dtype=wide).abs().sum())
        else:
            self._add(self.batch, name, contribution.sum(dtype=wide))
        if self.checked < CHECKED_BATCHES:
            per_example = contribution.flatten(1) if contribution.dim() == 3 else contribution.reshape(1, -1)
            self._add(self.left, name, per_example.sum(1, dtype=wide).abs().sum())
            self._add(self.moved, name, per_example.to(wide).square().sum(1).sqrt().sum())

    def end_batch(self) -> None:
        for name, value in self.batch.items():
            self._add(self.total, name, value.abs() if self.reduction == "batch" else value)
        self.batch = {}
        self.checked += 1

    @staticmethod
    def _add(sums: dict[str, Tensor], name: str, value: Tensor) -> None:
        sums[name] = sums[name] + value if name in sums else value


class _Tap(torch.autograd.Function):
    """The identity; in backward it adds <dL/dy, y - b>. Its saved y is dropped and recomputed under checkpointing."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, bias: Tensor | None, name: str, sums: _Sums, copied: bool) -> Tensor:
        ctx.save_for_backward(y.clone() if copied else y, bias)
        ctx.name, ctx.sums = name, sums
        return y.view_as(y)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        y, bias = ctx.saved_tensors
        ctx.sums.add(ctx.name, grad * (y if bias is None else y - bias))
        return grad, *[None] * 5


def _overwrites_outputs(model: nn.Module) -> bool:
    """Whether what follows a linear writes over its output unseen: Liger's kernels do, forward and backward."""
    return any(type(module).__module__.partition(".")[0] == "liger_kernel" for module in model.modules())


@contextmanager
def _tapped(model: nn.Module, components: Mapping[str, nn.Linear], sums: _Sums) -> Iterator[None]:
    """Taps on; every parameter frozen, gradients start at the embeddings' output. Undone on exit."""
    copied = _overwrites_outputs(model)

    def tap(name: str) -> Any:
        return lambda module, _, y: _Tap.apply(y, module.bias, name, sums, copied)

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


@dataclass(frozen=True)
class SignedScores:
    """The outcome of `signed_scores`.

    Attributes:
        sums: per component, in the model's order: sum(W * dL/dW) over the data (reduction `dataset`), or the sum of
            the absolute values that the reduction takes.
        trained: tokens with a loss.
        vanishing: components whose contributions cancel within every example, as a norm behind them makes the model
            blind to their scale: their scores are rounding noise.
    """

    sums: dict[str, float]
    trained: int
    vanishing: tuple[str, ...]

    def __add__(self, other: SignedScores) -> SignedScores:
        sums = {name: value + other.sums[name] for name, value in self.sums.items()}
        both = tuple(name for name in self.vanishing if name in other.vanishing)
        return SignedScores(sums, self.trained + other.trained, both)

    def scores(self) -> dict[str, float]:
        """I_h of every component (eq. 4)."""
        return {name: abs(value) for name, value in self.sums.items()}


def signed_scores(
    model: nn.Module, batches: Iterable[Mapping[str, Tensor]], reduction: Reduction = "dataset"
) -> SignedScores:
    """What `score_components` takes the absolute value of; parts of the data add up. The same arguments."""
    components = linear_components(model)
    ties = tied_components(model, components) if reduction != "token" else {}
    device = next(model.parameters()).device
    head = plain_head(model)
    sums, trained = _Sums(reduction), 0
    with _tapped(model, {name: module for name, module in components.items() if name not in ties}, sums):
        for batch in batches:
            inputs = {key: value.to(device) for key, value in batch.items() if isinstance(value, Tensor)}
            labels = inputs.pop("labels")
            trained += int((labels[:, 1:] != IGNORE_INDEX).sum())
            with head_deferred(head):
                states_BTX = model(**inputs, use_cache=False).logits
            summed_nll(states_BTX, labels, head).backward()
            sums.end_batch()
    values = torch.zeros(len(components) + 1, 3, dtype=widest(device), device=device)
    for i, name in enumerate(components):
        for j, part in enumerate((sums.total, sums.left, sums.moved)):
            values[i, j] = part.get(ties.get(name, name), values[i, j])
    values[-1] = trained
    sum_of_all(values)
    total, left, moved = values[:-1].T.tolist()
    limit = VANISHING_HALF if next(model.parameters()).dtype.itemsize == 2 else VANISHING
    vanishing = tuple(
        name for name, rest, chance in zip(components, left, moved, strict=True) if chance and rest < limit * chance
    )
    return SignedScores(dict(zip(components, total, strict=True)), int(values[-1, 0]), vanishing)


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
    found = signed_scores(model, batches, reduction)
    if found.trained == 0:
        raise OptionError("no token of the data is trained: is every answer empty, or cut off by `cutoff_len`?")
    return found.scores()
