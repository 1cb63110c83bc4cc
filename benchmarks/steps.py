"""The steps that are compared: CITI's, as its trainer makes them, and the naive ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from peers import LoopedMoLora, lora_linear
from peft import PeftModel, TaskType, get_peft_model
from setting import ALPHA, BETA, DELTA, EXPERTS, RANK, Batch, twin
from torch import Tensor, nn

from llamafactory_ext.citi.phases import Phase, set_trainable
from llamafactory_ext.citi.router_backward import RouterLoss, Totals
from llamafactory_ext.citi.router_loss import router_loss
from llamafactory_ext.molora import MoLoraConfig, MoLoraLinear
from llamafactory_ext.training.losses import IGNORE_INDEX, head_deferred, plain_head, summed_nll
from llamafactory_ext.training.parameters import Group

TRAINS: dict[str, frozenset[Group]] = {
    "rp": frozenset({"router"}),
    "mi": frozenset({"router", "experts"}),
    "uco": frozenset({"backbone"}),
}


class Citi:
    """A base model with MOLoRA, the router loss, and one step of each phase as `CitiTrainer` makes it.

    Args:
        base: shared, not copied; only tuned linears get memory of their own.
        adapted, tuned: names of linears.
        fresh: experts still zero, as in Router Pre-training.
        experts: N.
    """

    def __init__(
        self,
        base: nn.Module,
        adapted: Sequence[str],
        tuned: Sequence[str] = (),
        *,
        fresh: bool,
        experts: int = EXPERTS,
    ) -> None:
        config = MoLoraConfig(
            task_type=TaskType.CAUSAL_LM,
            target_modules=list(adapted),
            modules_to_save=list(tuned) or None,
            num_experts=experts,
            r=RANK,
            alpha=ALPHA,
            init_weights=fresh,
        )
        torch.manual_seed(1)
        self.model: PeftModel = get_peft_model(twin(base), config).train()
        self.layers: dict[str, MoLoraLinear] = self.model.base_model.molora_layers()
        self.router = RouterLoss(list(self.layers), delta=DELTA, beta=BETA, scope="batch")
        self.model.base_model.set_gate_loss(self.router)
        self.head = plain_head(self.model)
        self.gates = experts + 1

    def enter(self, phase: str) -> list[nn.Parameter]:
        """Lets the phase's parameters move, and returns them."""
        set_trainable(self.model, Phase(phase, phase, TRAINS[phase], 1, 1e-4))
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def step(self, batch: Batch, *, totals: Totals | None = None, parts: int = 1) -> None:
        """Forward and backward of MI or UCO.

        Args:
            batch: the micro-batch.
            totals: of the router loss over the whole optimiser step; None: over this micro-batch.
            parts: micro-batches of the optimiser step.
        """
        self.begin(batch)
        loss = self.language_loss(batch) / parts
        share = 1 / parts
        weight = share if totals is None else 1.0
        totals = self.router.totals() if totals is None else totals
        self.router.attach(loss, totals, gates=self.gates, share=share, weight=weight).backward()

    def step_without_router_loss(self, batch: Batch) -> None:
        """The same with nothing but the language-model loss."""
        self.router.end()
        self.language_loss(batch).backward()

    def begin(self, batch: Batch) -> None:
        self.router.begin(batch.marks.is_tool, batch.marks.mask, batch.marks.sample)

    def language_loss(self, batch: Batch) -> Tensor:
        """Mean next-token loss without full logits."""
        return chunked_loss(self.model, batch, self.head)

    def sums(self, batch: Batch) -> Totals:
        """What `citi_router_window: step` does once more per micro-batch."""
        self.begin(batch)
        with self.router.forward_only():
            self.model(**batch.inputs, logits_to_keep=1)
        return self.router.totals()

    @torch.no_grad()
    def router_step(self, batch: Batch) -> None:
        """Router Pre-training: a forward pass up to the last router, in which each forms its own gradient."""
        self.begin(batch)
        with self.router.forward_only(learn=True):
            self.model(**batch.inputs, logits_to_keep=1)
        totals = self.router.totals()
        self.router.value(totals, self.gates)
        moves = self.router.own_gradients(totals, gates=self.gates)
        weights = [layer.weights("default")[0] for layer in self.layers.values()]
        for weight, move in zip(weights, moves.split([weight.numel() for weight in weights]), strict=True):
            weight.grad = move.view_as(weight).to(weight.dtype)

    @torch.no_grad()
    def reset(self) -> None:
        """Experts back to zero."""
        for layer in self.layers.values():
            layer.weights("default")[2].zero_()


class Naive:
    """The same model written down plainly: a loop over experts, full logits, autograd for everything.

    Args:
        base: as for `Citi`.
        adapted, tuned: as for `Citi`.
        like: take over its adapters' weights.
    """

    def __init__(self, base: nn.Module, adapted: Sequence[str], tuned: Sequence[str] = (), *, like: Citi) -> None:
        self.model = twin(base)
        self.loops: dict[str, LoopedMoLora] = {}
        for name in adapted:
            loop = LoopedMoLora(self.model.get_submodule(name), EXPERTS, RANK, ALPHA)
            loop.take(*(weight.detach() for weight in like.layers[name].weights("default")))
            self.model.set_submodule(name, loop)
            self.loops[name] = loop
        self.tuned = [self.model.get_submodule(name).weight for name in tuned]
        for weight in self.tuned:
            weight.data = weight.data.clone()

    def enter(self, phase: str) -> list[nn.Parameter]:
        """As for `Citi`."""
        self.model.requires_grad_(False)
        moving: list[nn.Parameter] = list(self.tuned) if phase == "uco" else []
        for loop in self.loops.values():
            if phase in ("rp", "mi"):
                moving += loop.router.parameters()
            if phase == "mi":
                moving += [*loop.A.parameters(), *loop.B.parameters()]
        for parameter in moving:
            parameter.requires_grad_(True)
        return moving

    def step(self, batch: Batch) -> None:
        """Forward and backward of any phase, with full logits."""
        self.attach(full_loss(self.model, batch), batch).backward()

    def step_with_chunked_loss(self, batch: Batch, head: nn.Linear) -> None:
        """The same but for our language-model loss, so that only the adapters differ."""
        self.attach(chunked_loss(self.model, batch, head), batch).backward()

    def attach(self, loss: Tensor, batch: Batch) -> Tensor:
        """The router loss by autograd, from gates that the forward pass has left behind."""
        is_tool, mask = batch.marks.is_tool.flatten(), batch.marks.mask.flatten()
        for loop in self.loops.values():
            assert loop.gates is not None
            loss = loss + BETA * router_loss(loop.gates.flatten(0, 1), is_tool, mask, DELTA)
        return loss

    @torch.no_grad()
    def reset(self) -> None:
        """Experts back to zero."""
        for loop in self.loops.values():
            for expert in loop.B:
                expert.weight.zero_()


def lora_model(base: nn.Module, adapted: Iterable[str]) -> nn.Module:
    """PEFT's LoRA of the same number of rank columns on the same linears."""
    model: nn.Module = twin(base)
    for name in adapted:
        model.set_submodule(name, lora_linear(model.get_submodule(name), EXPERTS * RANK))
    return model


def chunked_loss(model: nn.Module, batch: Batch, head: nn.Linear | None) -> Tensor:
    """Mean next-token loss straight from the hidden states."""
    with head_deferred(head):
        states_BTX = model(**batch.inputs).logits
    return summed_nll(states_BTX, batch.labels, head) / batch.trained


def full_loss(model: nn.Module, batch: Batch, reduction: str = "mean") -> Tensor:
    """Next-token loss as transformers computes it: all logits, raised to float32 at least, labels shifted."""
    logits_BTV = model(**batch.inputs).logits
    logits_BTV = logits_BTV.to(torch.promote_types(logits_BTV.dtype, torch.float32))
    labels_BT = nn.functional.pad(batch.labels[:, 1:], (0, 1), value=IGNORE_INDEX)
    return nn.functional.cross_entropy(
        logits_BTV.flatten(0, 1), labels_BT.flatten(), ignore_index=IGNORE_INDEX, reduction=reduction
    )


def upstream_checkpointing(model: nn.Module) -> None:
    """LLaMA-Factory's own gradient checkpointing with its default, the reentrant kind; without it, transformers'."""
    try:
        from llamafactory.model.model_utils.checkpointing import _gradient_checkpointing_enable
    except ImportError:
        model.enable_input_require_grads()  # type: ignore[operator]
        model.gradient_checkpointing_enable({"use_reentrant": True})  # type: ignore[operator]
        return
    _gradient_checkpointing_enable(model, {"use_reentrant": True})  # type: ignore[arg-type]


def clean(model: nn.Module, step: Callable[..., Any], *args: Any) -> Callable[[], None]:
    """A call that forgets the old gradients and makes the step."""

    def call() -> None:
        model.zero_grad(set_to_none=True)
        step(*args)

    return call


def worst(found: Iterable[Tensor], expected: Iterable[Tensor]) -> float:
    """The greatest difference of two lists of tensors, each relative to its own greatest entry."""
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, expected, strict=True))
