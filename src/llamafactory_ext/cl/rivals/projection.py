"""`data_protect: project`: shared pairs learn only where earlier tasks' tokens do not reach.

A linear adds B (g * A x), g being the gates. With earlier tasks' inputs x within a span P and their gated z = g * A x
within a span Q, a change of A with rows orthogonal to P and a change of B with rows orthogonal to Q leave B (g * A x)
of those tokens as it was while the gates are. Spans are found as in gradient projection memory (Saha et al. 2021,
arXiv:2103.09762). The optimiser's step is projected, not the gradient, as Adam's step leaves the gradients' span.

Shapes: D inputs, R both ranks, K directions of a span.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

Spans = dict[str, Tensor]  # (K, D or R), by the name of the parameter whose rows are held


def grown_span(span_KD: Tensor, second_DD: Tensor, energy: float) -> Tensor:
    """Return a span with as many more directions as hold a share of what a task's vectors weigh.

    Args:
        span_KD: orthonormal rows so far.
        second_DD: sum of x x^T over the task's vectors.
        energy: share of the trace that the span has to hold.
    """
    total = float(second_DD.trace())
    held = float((span_KD @ second_DD @ span_KD.T).trace())
    rest_DD = second_DD - span_KD.T @ (span_KD @ second_DD)
    rest_DD = rest_DD - (rest_DD @ span_KD.T) @ span_KD
    values, vectors = torch.linalg.eigh((rest_DD + rest_DD.T) / 2)
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    room = span_KD.shape[1] - span_KD.shape[0]
    count = 0
    while count < room and held < energy * total and float(values[count]) > 0:
        held += float(values[count])
        count += 1
    joined = torch.cat([span_KD, vectors[:, :count].T])
    return torch.linalg.qr(joined.T).Q.T if count else span_KD


def outside(step: Tensor, span_KD: Tensor) -> Tensor:
    """Return a step of a weight without its rows' parts in a span."""
    return step - (step @ span_KD.T) @ span_KD


class Projection(TrainerCallback):
    """Project each optimiser step of A and B; when the training ends, add what this task used to the spans.

    Args:
        spans: of the earlier tasks.
        energy: see `grown_span`.
        items: training items that the spans are found from, at most.
        seed: by which they are drawn.

    Attributes:
        spans: with this task's once the training has ended.
    """

    def __init__(self, spans: Mapping[str, Tensor], *, energy: float, items: int, seed: int) -> None:
        self.spans: Spans = dict(spans)
        self.energy, self.items, self.seed = energy, items, seed
        self._held: dict[str, tuple[nn.Parameter, Tensor]] = {}
        self._before: dict[str, Tensor] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Look up the weights that earlier tasks use."""
        weights = dict(model.named_parameters())
        self._held = {name: (weights[name], span.to(weights[name])) for name, span in self.spans.items()}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the weights as they are."""
        self._before = {name: weight.detach().clone() for name, (weight, _) in self._held.items()}

    @torch.no_grad()
    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take from the step what earlier tasks would feel."""
        for name, (weight, span) in self._held.items():
            before = self._before[name]
            weight.copy_(before + outside(weight - before, span))

    def on_train_end(
        self, args: Any, state: Any, control: Any, model: Any = None, train_dataloader: Any = None, **kwargs: Any
    ) -> None:
        """Find the spans of this task's tokens."""
        data = train_dataloader.dataset
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(self.seed))[: self.items].tolist()
        batches = (train_dataloader.collate_fn([data[place]]) for place in order)
        for name, second in second_moments(model, batches).items():
            width = second.shape[0]
            span = self.spans.get(name, torch.zeros(0, width)).double().cpu()
            self.spans[name] = grown_span(span, second, self.energy).float()


@torch.no_grad()
def second_moments(model: Any, batches: Any) -> dict[str, Tensor]:
    """Return sums over tokens of x x^T and of z z^T, by the names of A and B of each linear, in float64.

    Args:
        model: a PEFT model with a DATA adapter.
        batches: inputs with an attention mask.
    """
    sums: dict[str, Tensor] = {}
    masks: list[Tensor] = []

    def watch(name: str) -> Any:
        def hook(linear: Any, args: tuple[Any, ...], output: Any) -> None:
            kept = masks[-1]
            x_TD = args[0].detach().flatten(0, -2).float()[kept]
            A_RD, _ = linear.weights("default")
            z_TR = x_TD @ A_RD.float().T
            if (gate_2T := linear._gate("default", args[0])) is not None:
                low = linear.low_rank["default"]
                gate_2T = gate_2T.float()[:, kept]
                z_TR = torch.cat([z_TR[:, :low] * gate_2T[0, :, None], z_TR[:, low:] * gate_2T[1, :, None]], dim=1)
            for part, vectors in (("A", x_TD.double()), ("B", z_TR.double())):
                key = f"base_model.model.{name}.data_adapter_{part}.default.weight"
                second = (vectors.T @ vectors).cpu()
                sums[key] = sums[key] + second if key in sums else second

        return hook

    hooks = [linear.register_forward_hook(watch(name)) for name, linear in model.base_model.linears().items()]
    was_training = model.training
    model.eval()
    try:
        for batch in batches:
            inputs = {name: value.to(model.device) for name, value in batch.items() if isinstance(value, Tensor)}
            mask = inputs.get("attention_mask", inputs["input_ids"] >= 0)
            masks.append((mask if mask.dim() == 2 else torch.ones_like(inputs["input_ids"])).flatten() != 0)
            model(**inputs)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return sums
