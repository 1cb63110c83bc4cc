"""Mixture-of-LoRA as one fused autograd function, around a frozen linear.

What it does: h = W0 x + sum_i G(x)[i] (alpha / r) B_i A_i x for i = 1..N, with G = softmax(W_g x) over N + 1 outputs
(CITI, arXiv:2409.13202, eq. 6 and 7; the paper's index is off by one and leaves out alpha / r). Without the neutral
gate the softmax runs over N outputs, one per expert (section 4.6). What it does not do: merge into the base (the gate
depends on the input), dropout, sparse routing.

Shapes: T tokens, D input width, O output width, N experts, R rank of one expert, M = N R, E gates: N, or N + 1 with
the neutral one, K = M + E. The experts' gates are the last N.
"""

from __future__ import annotations

import importlib.util
import os
from types import ModuleType
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from . import gating

Kernel = Literal["torch", "triton"]


class GateLoss(Protocol):
    """What a loss on the gates must offer: it sees them in forward and gives their gradient in backward.

    Being part of the adapter's own backward, it needs no gates collected across layers and holds under reentrant and
    non-reentrant gradient checkpointing alike.

    Attributes:
        alone: only routers train and all B are 0. The experts then add nothing, the language-model loss has no
            gradient, and no router changes another's input: forward calls `learn`, before the base linear, and leaves
            the experts out.
    """

    alone: bool

    def observe(self, layer: str, gates_ET: Tensor) -> None:
        """Run the forward pass of `layer`: float gates, detached."""

    def gradient(self, layer: str, gates_ET: Tensor) -> Tensor | None:
        """Run the backward pass of `layer`: d(total loss)/d(gates), same shape, or None."""

    def learn(self, layer: str, x: Tensor, router_ED: Tensor) -> None:
        """Run the forward pass of `layer` under `alone`: x (..., D) in the number type of the products, detached."""


def _gating(kernel: Kernel) -> ModuleType:
    if kernel == "torch":
        return gating
    from . import gating_triton

    return gating_triton


def triton_problem(*, gpu: bool = True) -> str | None:
    """Say why the kernel `triton` cannot be used here, or None.

    `gpu` says whether one would be used if there is one.
    """
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed (torch for a GPU brings it along)"
    if not (gpu and torch.cuda.is_available()) and os.environ.get("TRITON_INTERPRET") != "1":
        return "it needs a GPU"
    return None


class _MoLora(torch.autograd.Function):
    """Base linear and experts in one: y = W0 x + b0 + experts, or the experts alone added to a given y.

    Keeps x, u and the gates only. The experts' product is added into y, and in backward into dL/dx, by the matrix
    product itself: neither is ever there twice.
    """

    @staticmethod
    def forward(
        ctx: Any,
        base: Tensor | None,  # first, as autograd takes the first input for the one changed in place if it is a view
        in_place: bool,
        x: Tensor,
        W0_OD: Tensor | None,
        b0_O: Tensor | None,
        router_ED: Tensor,
        A_ND: Tensor,
        B_ON: Tensor,
        rank: int,
        scaling: float,
        layer: str,
        gate_loss: GateLoss | None,
        kernel: Kernel,
        dtype: torch.dtype,
    ) -> Tensor:
        if base is None:
            assert W0_OD is not None
            y = nn.functional.linear(x.to(dtype), W0_OD.to(dtype), None if b0_O is None else b0_O.to(dtype))
        else:
            y = base if in_place else base.clone(memory_format=torch.contiguous_format)
            if in_place:
                ctx.mark_dirty(base)
        between, experts = _gating(kernel), A_ND.shape[0] // rank
        u_KT = between.stack(router_ED, A_ND, dtype) @ x.reshape(-1, x.shape[-1]).to(dtype).t()
        gates_ET = between.gates(u_KT, len(router_ED))
        if gate_loss is not None:
            gate_loss.observe(layer, gates_ET)
        z_MT = between.gated(u_KT, gates_ET, experts, scaling)
        y.view(-1, y.shape[-1]).addmm_(z_MT.t(), B_ON.to(dtype).t())
        ctx.save_for_backward(x, u_KT, gates_ET, W0_OD, router_ED, A_ND, B_ON)
        ctx.rank, ctx.scaling, ctx.layer, ctx.gate_loss, ctx.kernel = rank, scaling, layer, gate_loss, kernel
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, u_KT, gates_ET, W0_OD, router_ED, A_ND, B_ON = ctx.saved_tensors
        need_base, _, need_x, _, _, need_router, need_A, need_B = ctx.needs_input_grad[:8]
        between, experts, dtype = _gating(ctx.kernel), A_ND.shape[0] // ctx.rank, u_KT.dtype
        grad_TO = grad.reshape(-1, grad.shape[-1]).to(dtype)
        grad_x = grad_router = grad_A = grad_B = None
        z_MT = between.gated(u_KT, gates_ET, experts, ctx.scaling)
        if need_B:
            # Formed as its transpose, with the long side last, which takes a third less on a CPU.
            grad_B = (z_MT @ grad_TO).t().to(B_ON.dtype)
        if need_x or need_router or need_A:
            extra_ET = None if ctx.gate_loss is None else ctx.gate_loss.gradient(ctx.layer, gates_ET)
            dz_TM = grad_TO @ B_ON.to(dtype)
            du_KT = between.ungated(z_MT, gates_ET, dz_TM, extra_ET, experts, ctx.scaling)
            del z_MT, dz_TM
            if need_router or need_A:
                dstack_KD = du_KT @ x.reshape(-1, x.shape[-1]).to(dtype)
                grad_A = dstack_KD[: len(A_ND)].to(A_ND.dtype) if need_A else None
                grad_router = dstack_KD[len(A_ND) :].to(router_ED.dtype) if need_router else None
            if need_x:
                stack_KD, du_TK = between.stack(router_ED, A_ND, dtype), du_KT.t()
                dx_TD = du_TK @ stack_KD if W0_OD is None else (grad_TO @ W0_OD.to(dtype)).addmm_(du_TK, stack_KD)
                grad_x = dx_TD.view(x.shape).to(x.dtype)
        return grad if need_base else None, None, grad_x, None, None, grad_router, grad_A, grad_B, *[None] * 6


class Adapter(NamedTuple):
    """One adapter of one linear, as the function needs it.

    Attributes:
        router_ED: the router's weight.
        A_ND: the experts' A, one below the other: (N R, D).
        B_ON: the experts' B, side by side: (O, N R).
        rank: R.
        scaling: alpha / r.
        layer: the linear's name for `gate_loss`.
        gate_loss: what sees the gates and adds to their gradient.
        kernel: what computes all between the products.
    """

    router_ED: Tensor
    A_ND: Tensor
    B_ON: Tensor
    rank: int
    scaling: float
    layer: str = ""
    gate_loss: GateLoss | None = None
    kernel: Kernel = "torch"


def apply_molora(base: nn.Linear | Tensor, x: Tensor, adapter: Adapter, *, in_place: bool = True) -> Tensor:
    """Return the base linear's output with the experts' added: (..., O).

    Args:
        base: the linear, frozen, which is then computed along with the experts (saves a copy of dL/dx); or its
            output (..., O).
        x: (..., D).
        adapter: the experts and their router.
        in_place: change a given output; False where somebody else may hold it.
    """
    device = x.device.type
    if isinstance(base, Tensor):
        y, W0_OD, b0_O, dtype = base, None, None, base.dtype
    else:
        y, W0_OD, b0_O, dtype = None, base.weight, base.bias, product_type(base.weight)
    if not _autocast(device):
        plain: Tensor = _MoLora.apply(y, in_place, x, W0_OD, b0_O, *adapter, dtype)
        return plain
    with torch.autocast(device, enabled=False):
        result: Tensor = _MoLora.apply(y, in_place, x, W0_OD, b0_O, *adapter, dtype)
    return result


def product_type(operand: Tensor) -> torch.dtype:
    """Return the number type in which a linear multiplies its input or weight: autocast's, if that is on."""
    device, dtype = operand.device.type, operand.dtype
    if dtype != torch.float64 and _autocast(device):
        return torch.get_autocast_dtype(device)
    return dtype


def _autocast(device: str) -> bool:
    """Tell whether autocast is on for a device; kinds such as meta know none."""
    return torch.amp.autocast_mode.is_autocast_available(device) and torch.is_autocast_enabled(device)
