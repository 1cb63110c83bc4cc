"""The Mixture-of-LoRA layer: one fused autograd function around a frozen linear.

What it does: h = W0 x + sum_i G(x)[i] (alpha / r) B_i A_i x for i = 1..N, with G = softmax(W_g x) over N + 1 outputs
(CITI, arXiv:2409.13202, eq. 6 and 7; the paper's index is off by one and leaves out alpha / r). Without the neutral
gate the softmax runs over N outputs, one per expert (section 4.6). What it does not do: merge into the base (the gate
depends on the input), dropout, sparse routing.

Shapes: T tokens, D input width, O output width, N experts, R rank of one expert, E gates: N, or N + 1 with the neutral
one. The experts' gates are the last N.
"""

from __future__ import annotations

import math
from typing import Any, Protocol, cast

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..errors import CheckpointError

ROWS = 8  # GEMMs whose smallest side is no multiple of 8 run about a third slower


class GateLoss(Protocol):
    """What a loss on the gates must offer: it sees them in forward and gives their gradient in backward.

    Being part of the adapter's own backward, it needs no gates collected across layers and holds under reentrant and
    non-reentrant gradient checkpointing alike.

    Attributes:
        alone: only routers train and all B are 0. The experts then add nothing, the language-model loss has no
            gradient, and no router changes another's input: forward calls `learn` and leaves the experts out.
    """

    alone: bool

    def observe(self, layer: str, gates_TE: Tensor) -> None:
        """Forward of `layer`: float gates, detached."""

    def gradient(self, layer: str, gates_TE: Tensor) -> Tensor | None:
        """Backward of `layer`: d(total loss)/d(gates), same shape, or None."""

    def learn(self, layer: str, x: Tensor, router_ED: Tensor) -> None:
        """Forward of `layer` under `alone`: x (..., D) in the number type of the products, detached."""


def _stack(router_ED: Tensor, A_ND: Tensor, dtype: torch.dtype) -> Tensor:
    """[A; router; zero rows], so that one GEMM serves both: (ceil(NR + E, 8), D)."""
    rows = A_ND.shape[0] + router_ED.shape[0]
    padding = A_ND.new_zeros(-rows % ROWS, A_ND.shape[1])
    return torch.cat([A_ND.to(dtype), router_ED.to(dtype), padding.to(dtype)])


def _gates(u_TK: Tensor, first: int, gates: int) -> Tensor:
    """Softmax over the router's columns of u, from column `first` on, in float32 at least: (T, E)."""
    logits = u_TK[:, first : first + gates]
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(dim=-1)


def _gated(u_TK: Tensor, gates_TE: Tensor, experts: int, rank: int, scaling: float) -> Tensor:
    """The experts' activations times gate and alpha / r: (T, N R)."""
    weight_TN = (gates_TE[:, -experts:] * scaling).to(u_TK.dtype)
    return (u_TK[:, : experts * rank].unflatten(1, (experts, rank)) * weight_TN.unsqueeze(-1)).flatten(1)


class _MoLora(torch.autograd.Function):
    """Adds the experts' output to the base linear's output in place. Keeps x, u and the gates only."""

    @staticmethod
    def forward(
        ctx: Any,
        base: Tensor,  # first, as autograd takes the first input for the one changed in place if it is a view
        x: Tensor,
        router_ED: Tensor,
        A_ND: Tensor,
        B_ON: Tensor,
        rank: int,
        scaling: float,
        layer: str,
        gate_loss: GateLoss | None,
    ) -> Tensor:
        dtype = base.dtype
        x_TD = x.reshape(-1, x.shape[-1]).to(dtype)
        u_TK = x_TD @ _stack(router_ED, A_ND, dtype).t()
        experts = A_ND.shape[0] // rank
        gates_TE = _gates(u_TK, experts * rank, router_ED.shape[0])
        if gate_loss is not None:
            gate_loss.observe(layer, gates_TE)
        base.view(-1, base.shape[-1]).addmm_(_gated(u_TK, gates_TE, experts, rank, scaling), B_ON.to(dtype).t())
        ctx.mark_dirty(base)
        ctx.save_for_backward(x, u_TK, gates_TE, router_ED, A_ND, B_ON)
        ctx.rank, ctx.scaling, ctx.layer, ctx.gate_loss = rank, scaling, layer, gate_loss
        return base

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, u_TK, gates_TE, router_ED, A_ND, B_ON = ctx.saved_tensors
        need_base, need_x, need_router, need_A, need_B = ctx.needs_input_grad[:5]
        rank, scaling, dtype = ctx.rank, ctx.scaling, u_TK.dtype
        experts, gates = A_ND.shape[0] // rank, router_ED.shape[0]
        grad_TO = grad.reshape(-1, grad.shape[-1]).to(dtype)
        grad_x = grad_router = grad_A = grad_B = None
        if need_B:
            grad_B = (grad_TO.t() @ _gated(u_TK, gates_TE, experts, rank, scaling)).to(B_ON.dtype)
        if need_x or need_router or need_A:
            dz_TNR = (grad_TO @ B_ON.to(dtype)).unflatten(1, (experts, rank))
            a_TNR = u_TK[:, : experts * rank].unflatten(1, (experts, rank))
            dgates_TE = torch.zeros_like(gates_TE)
            dgates_TE[:, -experts:] = (dz_TNR * a_TNR).sum(-1, dtype=gates_TE.dtype) * scaling
            if ctx.gate_loss is not None and (extra := ctx.gate_loss.gradient(ctx.layer, gates_TE)) is not None:
                dgates_TE += extra
            dlogits_TE = gates_TE * (dgates_TE - (dgates_TE * gates_TE).sum(-1, keepdim=True))
            da_TNR = dz_TNR * (gates_TE[:, -experts:] * scaling).to(dtype).unsqueeze(-1)
            padding = da_TNR.new_zeros(da_TNR.shape[0], u_TK.shape[1] - experts * rank - gates)
            du_TK = torch.cat([da_TNR.flatten(1), dlogits_TE.to(dtype), padding], dim=1)
            if need_router or need_A:
                dstack_KD = du_TK.t() @ x.reshape(-1, x.shape[-1]).to(dtype)
                grad_A = dstack_KD[: experts * rank].to(A_ND.dtype) if need_A else None
                if need_router:
                    grad_router = dstack_KD[experts * rank : experts * rank + gates].to(router_ED.dtype)
            if need_x:
                grad_x = (du_TK @ _stack(router_ED, A_ND, dtype)).view(x.shape).to(x.dtype)
        return grad if need_base else None, grad_x, grad_router, grad_A, grad_B, None, None, None, None


def apply_molora(
    base: Tensor,
    x: Tensor,
    router_ED: Tensor,
    A_ND: Tensor,
    B_ON: Tensor,
    rank: int,
    scaling: float,
    layer: str = "",
    gate_loss: GateLoss | None = None,
) -> Tensor:
    """Adds the experts' output for x (..., D) to the base linear's output (..., O), in place, and returns it."""
    return _MoLora.apply(base, x, router_ED, A_ND, B_ON, rank, scaling, layer, gate_loss)


class MoLoraLinear(nn.Module, BaseTunerLayer):
    """A frozen linear with a Mixture-of-LoRA adapter beside it.

    Parameters of adapter `name` (the checkpoint drops the name): `molora_router.name.weight` (E, D);
    `molora_A.name.weight` (N R, D), expert i (from 0) = rows i R .. (i + 1) R - 1, gated by router output E - N + i;
    `molora_B.name.weight` (O, N R), expert i = the same columns.
    """

    adapter_layer_names = ("molora_router", "molora_A", "molora_B")
    other_param_names = ("num_experts", "rank", "scaling")

    def __init__(
        self,
        base_layer: nn.Module,
        adapter_name: str,
        *,
        num_experts: int,
        r: int,
        alpha: float,
        init_weights: bool,
        neutral_gate: bool = True,
    ) -> None:
        super().__init__()
        self.base_layer = base_layer
        linear: nn.Linear = BaseTunerLayer.get_base_layer(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.molora_router, self.molora_A, self.molora_B = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        self.num_experts: dict[str, int] = {}
        self.rank: dict[str, int] = {}
        self.scaling: dict[str, float] = {}
        self.layer_name = ""
        self.gate_loss: GateLoss | None = None
        self._disable_adapters = False
        self.merged_adapters: list[str] = []
        self.update_layer(
            adapter_name,
            num_experts=num_experts,
            r=r,
            alpha=alpha,
            init_weights=init_weights,
            neutral_gate=neutral_gate,
        )

    def update_layer(
        self,
        adapter_name: str,
        *,
        num_experts: int,
        r: int,
        alpha: float,
        init_weights: bool,
        neutral_gate: bool = True,
    ) -> None:
        """Adds adapter `adapter_name`; it starts as the identity unless `init_weights` is False."""
        self.num_experts[adapter_name], self.rank[adapter_name] = num_experts, r
        self.scaling[adapter_name] = alpha / r
        self.molora_router[adapter_name] = nn.Linear(self.in_features, num_experts + neutral_gate, bias=False)
        self.molora_A[adapter_name] = nn.Linear(self.in_features, num_experts * r, bias=False)
        self.molora_B[adapter_name] = nn.Linear(num_experts * r, self.out_features, bias=False)
        router_ED, A_ND, B_ON = self.weights(adapter_name)
        for weights in (router_ED, A_ND):
            nn.init.kaiming_uniform_(weights, a=math.sqrt(5))  # nn.Linear's and LoRA's own
        if init_weights:
            nn.init.zeros_(B_ON)
        else:
            nn.init.normal_(B_ON, std=0.02)
        BaseTunerLayer._move_adapter_to_device_of_base_layer(self, adapter_name)
        BaseTunerLayer.set_adapter(self, self.active_adapters)

    def weights(self, adapter_name: str) -> tuple[Tensor, Tensor, Tensor]:
        """Router (E, D), A (N R, D) and B (O, N R) of an adapter."""
        router, A, B = (
            cast(nn.Linear, part[adapter_name]).weight for part in (self.molora_router, self.molora_A, self.molora_B)
        )
        return router, A, B

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Maps x (..., D) to (..., O)."""
        result = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters:
            return result
        for name in cast(list[str], self.active_adapters):
            if name not in self.molora_A:
                continue
            if self.gate_loss is not None and self.gate_loss.alone:
                self.gate_loss.learn(self.layer_name, x.detach().to(result.dtype), self.weights(name)[0].detach())
            else:
                rank, scaling = self.rank[name], self.scaling[name]
                result = apply_molora(
                    result, x, *self.weights(name), rank, scaling, layer=self.layer_name, gate_loss=self.gate_loss
                )
        return result

    def gates(self, x: Tensor, adapter_name: str = "default") -> Tensor:
        """The router's output G(x) for x (..., D): (..., E) in float32 at least."""
        logits = nn.functional.linear(x, self.weights(adapter_name)[0].to(x.dtype))
        return logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(dim=-1)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        raise CheckpointError(
            "A MOLoRA adapter cannot be merged into the base weights: its gate depends on the input. Load it with "
            "`finetuning_type: citi`, or write a self-contained model with `llamafactory-cli export`."
        )

    def unmerge(self) -> None:
        """Nothing is ever merged."""

    def __repr__(self) -> str:
        return "molora." + super().__repr__()
