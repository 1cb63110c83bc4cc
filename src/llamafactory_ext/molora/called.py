"""Mixture-of-LoRA by calls of its three linears, for when somebody counts on these calls.

The same formula as `kernel.py` in torch's own operators: slower, and it keeps more. Hooks, offloading and FSDP 1 see
each linear called; torch.func and torch.jit see each operator.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .kernel import GateLoss


class _Watched(torch.autograd.Function):
    """The gates unchanged, shown to a loss that adds its own gradient in backward."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, layer: str, gate_loss: GateLoss) -> Tensor:
        gate_loss.observe(layer, _by_token(gates))
        ctx.save_for_backward(gates)
        ctx.layer, ctx.gate_loss = layer, gate_loss
        return gates.view_as(gates)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (gates,) = ctx.saved_tensors
        extra_ET = ctx.gate_loss.gradient(ctx.layer, _by_token(gates))
        return grad if extra_ET is None else grad + extra_ET.t().reshape(grad.shape).to(grad.dtype), None, None


def call_molora(
    result: Tensor,
    x: Tensor,
    linears: tuple[nn.Module, nn.Module, nn.Module],
    rank: int,
    scaling: float,
    layer: str,
    gate_loss: GateLoss | None,
) -> Tensor:
    """Return the base linear's output with the experts' added, out of place: (..., O).

    Args:
        result: the base linear's output (..., O).
        x: (..., D).
        linears: router, A and B, or what stands in their places.
        rank: R.
        scaling: alpha / r.
        layer: the linear's name for `gate_loss`.
        gate_loss: what sees the gates and adds to their gradient.
    """
    router, A, B = linears
    a = A(x.to(_dtype(A, x)))
    a = a.unflatten(-1, (a.shape[-1] // rank, rank))
    gates = open_gates(router, x)
    if gate_loss is not None:
        gates = _Watched.apply(gates, layer, gate_loss)
    weights = (gates[..., -a.shape[-2] :] * scaling).to(a.dtype)
    z = (a * weights.unsqueeze(-1)).flatten(-2)
    return result + B(z.to(_dtype(B, z))).to(result.dtype)


def open_gates(router: nn.Module, x: Tensor) -> Tensor:
    """Call the router on x (..., D); softmax of its logits in float32 at least: (..., E)."""
    logits = router(x.to(_dtype(router, x)))
    return logits.softmax(dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))


def _by_token(gates: Tensor) -> Tensor:
    return gates.detach().reshape(-1, gates.shape[-1]).t()


def _dtype(linear: nn.Module, x: Tensor) -> torch.dtype:
    """Return the number type of a linear's weight, on whatever device that lies."""
    return next((parameter.dtype for parameter in linear.parameters()), x.dtype)
