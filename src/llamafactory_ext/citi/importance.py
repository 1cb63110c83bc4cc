"""Importance of every linear component: eq. 4 of CITI (arXiv:2409.13202) from activations alone, or a stand-in for it.

What it does: I_h(D) = |sum(W * dL/dW)| with L the summed loss over all of D. For y = W x + b this equals
|sum over tokens <dL/dy, y - b>|, so no weight gradient is ever formed: a tap on each linear's output keeps y and, in
backward, adds one number. What it does not do: choose components (`selection.py`) or read data; the scores that
stand in where this one vanishes are in `alternatives.py`.

Signed sums are accumulated over batches and processes; the absolute value is taken once, at the end. That order
decides the outcome: taking it earlier (`reduction`) ranks differently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from ..errors import OptionError
from ..training.devices import widest
from ..training.parameters import component_linears
from ..training.processes import sum_of_all
from .alternatives import FisherSums, SnipSums, WandaSums
from .taps import Tap, run_pass

Reduction = Literal["dataset", "batch", "example", "token"]
Score = Literal["eq4", "snip", "fisher", "wanda"]


def linear_components(model: nn.Module) -> dict[str, nn.Linear]:
    """Return every linear of the backbone by name, in the model's order; output head and routers are none of them.

    Raises:
        OptionError: the model has no linear modules.
    """
    found = component_linears(model)
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
    """Return components whose signed sum over an example is exactly another's: name to the one that stands for both.

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


class VanishingError(OptionError):
    """Eq. 4 says nothing about some components, as a norm behind them makes the model blind to their scale.

    Attributes:
        components: their names.
        total: how many components the model has.
    """

    def __init__(self, components: tuple[str, ...], total: int) -> None:
        self.components, self.total = components, total
        super().__init__(
            f"citi_importance_score: eq4 does not exist here: {self.what}. Set citi_importance_score: auto, which "
            "takes another published score for all components."
        )

    @property
    def what(self) -> str:
        """Which components, and why, in words."""
        kinds = sorted({name.rpartition(".")[2] for name in self.components})
        return (
            f"it is 0 by construction for {len(self.components)} of {self.total} components ({', '.join(kinds)}), "
            "whose scale a norm behind them hides"
        )


class _SignedSums:
    """Accumulated contributions per component, in float64 where the device has it.

    Args:
        reduction: where the absolute value is taken.
        copied: keep copies of outputs, as what follows a linear writes over them.
    """

    backward = True

    def __init__(self, reduction: Reduction, *, copied: bool) -> None:
        self.reduction, self.copied = reduction, copied
        self.total: dict[str, Tensor] = {}
        self.batch: dict[str, Tensor] = {}
        self.checked = 0
        self.left: dict[str, Tensor] = {}  # sum over examples of |sum|: what is left after cancelling
        self.moved: dict[str, Tensor] = {}  # sum over examples of the root of squares: what chance alone would leave

    def begin_batch(self, inputs: Mapping[str, Tensor]) -> None:
        """Begin a batch: outputs and gradients are all that counts."""

    def tap(self, name: str, module: nn.Linear, x: Tensor, y: Tensor) -> Tensor:
        kept: Tensor = Tap.apply(y, y.clone() if self.copied else y, partial(self._see, name, module.bias))
        return kept

    def _see(self, name: str, bias: Tensor | None, grad: Tensor, y: Tensor) -> None:
        self.add(name, grad * (y if bias is None else y - bias))

    def add(self, name: str, contribution: Tensor) -> None:
        """Add `contribution` (..., O): dL/dy * (y - b) of every token."""
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


def _overwrites_outputs(model: nn.Module) -> bool:
    """Tell whether what follows a linear writes over its output unseen: Liger's kernels do, forward and backward."""
    return any(type(module).__module__.partition(".")[0] == "liger_kernel" for module in model.modules())


@dataclass(frozen=True)
class PartScores:
    """What one part of the data has added up; parts add up too.

    Attributes:
        sums: per component, in the model's order; of every process.
        trained: tokens with a loss.
        vanishing: components whose contributions to eq. 4 cancel within every example: rounding noise.
        finish: what makes a score of a component's sum.
    """

    sums: dict[str, Tensor]
    trained: int
    vanishing: tuple[str, ...]
    finish: Callable[[Tensor], Tensor]

    def __add__(self, other: PartScores) -> PartScores:
        sums = {name: value + other.sums[name] for name, value in self.sums.items()}
        both = tuple(name for name in self.vanishing if name in other.vanishing)
        return PartScores(sums, self.trained + other.trained, both, self.finish)

    def scores(self) -> dict[str, float]:
        """Return the importance of every component."""
        return {name: float(self.finish(value)) for name, value in self.sums.items()}


def part_scores(
    model: nn.Module,
    batches: Iterable[Mapping[str, Tensor]],
    reduction: Reduction = "dataset",
    score: Score = "eq4",
    *,
    strict: bool = False,
) -> PartScores:
    """Return what `score_components` makes its scores of; parts of the data add up. The same arguments.

    With `strict` it ends at once where eq. 4 is seen to vanish for a component.

    Raises:
        VanishingError: it does, and `strict` is set.
    """
    components = linear_components(model)
    if score == "eq4":
        return _signed_scores(model, batches, components, reduction, strict=strict)
    if score in ("snip", "wanda") and (odd := _unreadable(components)):
        raise OptionError(
            f"citi_importance_score: {score} reads the weights, and those of {odd} are quantized; set "
            "citi_importance_score: fisher, which does not."
        )
    sums = {"snip": SnipSums, "fisher": FisherSums, "wanda": WandaSums}[score]()
    trained = run_pass(model, batches, components, sums)
    device = next(model.parameters()).device
    widths = [module.in_features if score == "wanda" else 1 for module in components.values()]
    parts = [
        sums.total[name].reshape(-1) if name in sums.total else torch.zeros(width, dtype=widest(device), device=device)
        for name, width in zip(components, widths, strict=True)
    ]
    *parts, counted = sum_of_all(torch.cat([*parts, parts[0].new_tensor([trained])])).cpu().split([*widths, 1])
    finish = _root_sum if score == "wanda" else torch.sum
    return PartScores(dict(zip(components, parts, strict=True)), int(counted), (), finish)


def _root_sum(squares_X: Tensor) -> Tensor:
    return squares_X.sqrt().sum()


def _unreadable(components: Mapping[str, nn.Linear]) -> str | None:
    """Return the first component whose weight is not stored as numbers of its shape."""
    for name, module in components.items():
        shape = (module.out_features, module.in_features)
        if not module.weight.is_floating_point() or module.weight.shape != shape:
            return name
    return None


def _signed_scores(
    model: nn.Module,
    batches: Iterable[Mapping[str, Tensor]],
    components: dict[str, nn.Linear],
    reduction: Reduction,
    *,
    strict: bool,
) -> PartScores:
    ties = tied_components(model, components) if reduction != "token" else {}
    first = next(model.parameters())
    sums = _SignedSums(reduction, copied=_overwrites_outputs(model))
    limit = VANISHING_HALF if first.dtype.itemsize == 2 else VANISHING

    def counted(trained: int) -> PartScores:
        values = torch.zeros(len(components) + 1, 3, dtype=widest(first.device), device=first.device)
        for i, name in enumerate(components):
            for j, part in enumerate((sums.total, sums.left, sums.moved)):
                values[i, j] = part.get(ties.get(name, name), values[i, j])
        values[-1] = trained
        total, left, moved = sum_of_all(values).cpu().T
        vanishing = tuple(
            name
            for name, rest, chance in zip(components, left.tolist(), moved.tolist(), strict=False)
            if chance and rest < limit * chance
        )
        return PartScores(dict(zip(components, total, strict=False)), int(total[-1]), vanishing, torch.abs)

    def watched() -> Iterable[Mapping[str, Tensor]]:
        for seen, batch in enumerate(batches):
            if strict and seen == CHECKED_BATCHES and (names := counted(0).vanishing):
                raise VanishingError(names, len(components))
            yield batch

    trained = run_pass(model, watched(), {n: module for n, module in components.items() if n not in ties}, sums)
    return counted(trained)


def score_components(
    model: nn.Module,
    batches: Iterable[Mapping[str, Tensor]],
    reduction: Reduction = "dataset",
    score: Score = "eq4",
) -> dict[str, float]:
    """Return the importance of every linear component over all batches, not normalised.

    Under torch.distributed each process passes its own batches; signed sums are added up before the absolute value.

    Args:
        model: a causal language model, no adapter on it. It is left as it was.
        batches: `input_ids`, `labels` (-100 is not trained) and whatever else the model's forward takes, (B, T) each.
            The loss is summed over tokens: how examples are batched matters to the reduction `batch` only.
        reduction: where the absolute value is taken: once over the data set (the paper's formula), or per batch,
            example or token and then summed. Of eq. 4 only; the other scores are sums over examples.
        score: eq. 4 of the paper, or what stands in for it.

    Returns:
        Component name to score, in the model's order; every score is >= 0.

    Raises:
        OptionError: no linear modules; no batch; no trained token.
    """
    found = part_scores(model, batches, reduction, score)
    if found.trained == 0:
        raise OptionError("no token of the data is trained: is every answer empty, or cut off by `cutoff_len`?")
    return found.scores()
