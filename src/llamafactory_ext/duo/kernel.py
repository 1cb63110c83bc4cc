"""The low and the high pair of one linear as one fused autograd function, around the frozen linear.

What it computes: y = W0 x + b0 + g1 B1 A1 x + g2 B2 A2 x (DATA, arXiv:2502.11482), with both pairs in one A and one B.
A gate is a number per token, so it scales the activations of r ranks instead of outputs of O numbers: the pair costs
what one LoRA of rank r1 + r2 costs. There is no alpha / r and no dropout, as in the released code.

Shapes: T tokens, D input width, O output width, R = r1 + r2 ranks, the low ones first.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ..molora.kernel import product_type


class Pair(NamedTuple):
    """Both pairs of one linear, as the function needs them.

    Attributes:
        A_RD: A of the low pair above A of the high one.
        B_OR: B of the low pair beside B of the high one.
        gate_2T: the low and the high gate of every token; None for gates of 1.
        low: r1.
    """

    A_RD: Tensor
    B_OR: Tensor
    gate_2T: Tensor | None
    low: int


class _Duo(torch.autograd.Function):
    """Base linear and pairs in one: y = W0 x + b0 + pairs, or the pairs alone added to a given y.

    Keeps x, A x and the gates only. The pairs' product is added into y, and in backward into dL/dx, by the matrix
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
        A_RD: Tensor,
        B_OR: Tensor,
        gate_2T: Tensor | None,
        low: int,
        dtype: torch.dtype,
    ) -> Tensor:
        if base is None:
            assert W0_OD is not None
            y = nn.functional.linear(x.to(dtype), W0_OD.to(dtype), None if b0_O is None else b0_O.to(dtype))
        else:
            y = base if in_place else base.clone(memory_format=torch.contiguous_format)
            if in_place:
                ctx.mark_dirty(base)
        u_RT = A_RD.to(dtype) @ x.reshape(-1, x.shape[-1]).to(dtype).t()
        z_RT = _gated(u_RT, gate_2T, low)
        y.view(-1, y.shape[-1]).addmm_(z_RT.t(), B_OR.to(dtype).t())
        ctx.save_for_backward(x, u_RT, gate_2T, W0_OD, A_RD, B_OR)
        ctx.low = low
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, u_RT, gate_2T, W0_OD, A_RD, B_OR = ctx.saved_tensors
        need_base, _, need_x, _, _, need_A, need_B, need_gate = ctx.needs_input_grad[:8]
        low, dtype = ctx.low, u_RT.dtype
        grad_TO = grad.reshape(-1, grad.shape[-1]).to(dtype)
        grad_x = grad_A = grad_B = grad_gate = None
        if need_B:
            # Formed as its transpose, with the long side last, which takes a third less on a CPU.
            grad_B = (_gated(u_RT, gate_2T, low) @ grad_TO).t().to(B_OR.dtype)
        if need_x or need_A or need_gate:
            dz_RT = B_OR.to(dtype).t() @ grad_TO.t()
            if need_gate and gate_2T is not None:
                pull_RT = dz_RT * u_RT
                parts = (pull_RT[:low], pull_RT[low:])
                grad_gate = torch.stack([part.sum(0, dtype=gate_2T.dtype) for part in parts])
            du_RT = _gated(dz_RT, gate_2T, low)
            if need_A:
                grad_A = (du_RT @ x.reshape(-1, x.shape[-1]).to(dtype)).to(A_RD.dtype)
            if need_x:
                A, du_TR = A_RD.to(dtype), du_RT.t()
                dx_TD = du_TR @ A if W0_OD is None else (grad_TO @ W0_OD.to(dtype)).addmm_(du_TR, A)
                grad_x = dx_TD.view(x.shape).to(x.dtype)
        return grad if need_base else None, None, grad_x, None, None, grad_A, grad_B, grad_gate, None, None


def _gated(u_RT: Tensor, gate_2T: Tensor | None, low: int) -> Tensor:
    """Return each rank's row times its gate: (R, T)."""
    if gate_2T is None:
        return u_RT
    gate_2T, z_RT = gate_2T.to(u_RT.dtype), torch.empty_like(u_RT)
    torch.mul(u_RT[:low], gate_2T[0], out=z_RT[:low])
    torch.mul(u_RT[low:], gate_2T[1], out=z_RT[low:])
    return z_RT


def apply_pair(base: nn.Linear | Tensor, x: Tensor, pair: Pair, *, in_place: bool = True) -> Tensor:
    """Return the base linear's output with the pairs' added: (..., O).

    Args:
        base: the linear, frozen, which is then computed along with the pairs (saves a copy of dL/dx); or its output.
        x: (..., D).
        pair: both pairs and their gates.
        in_place: change a given output; False where somebody else may hold it.
    """
    if isinstance(base, Tensor):
        y, W0_OD, b0_O, dtype = base, None, None, base.dtype
    else:
        y, W0_OD, b0_O, dtype = None, base.weight, base.bias, product_type(base.weight)
    device = x.device.type
    known = torch.amp.autocast_mode.is_autocast_available(device) and torch.is_autocast_enabled(device)
    if not known:
        plain: Tensor = _Duo.apply(y, in_place, x, W0_OD, b0_O, *pair, dtype)
        return plain
    with torch.autocast(device, enabled=False):
        result: Tensor = _Duo.apply(y, in_place, x, W0_OD, b0_O, *pair, dtype)
    return result


def call_pair(result: Tensor, x: Tensor, A: nn.Module, B: nn.Module, gate_2T: Tensor | None, low: int) -> Tensor:
    """Return the same by calls of the two linears, out of place: slower, for when somebody counts on these calls.

    Hooks, offloading and FSDP 1 see each linear called; torch.func and torch.jit see each operator.

    Args:
        result: the base linear's output (..., O).
        x: (..., D).
        A: the linear of A, or what stands in its place.
        B: the linear of B, or what stands in its place.
        gate_2T: the low and the high gate of every token; None for gates of 1.
        low: r1.
    """
    u = A(x.to(_dtype(A, x)))
    if gate_2T is not None:
        gate_2T = gate_2T.to(u.dtype)
        weights = [gate_2T[part].view(*u.shape[:-1], 1) for part in (0, 1)]
        u = torch.cat([u[..., :low] * weights[0], u[..., low:] * weights[1]], dim=-1)
    added: Tensor = B(u.to(_dtype(B, u))).to(result.dtype)
    return result + added


def _dtype(linear: nn.Module, x: Tensor) -> torch.dtype:
    """Return the number type of a linear's weight, on whatever device that lies."""
    return next((parameter.dtype for parameter in linear.parameters()), x.dtype)
