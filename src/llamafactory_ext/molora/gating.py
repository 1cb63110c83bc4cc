"""What lies between the matrix products of a Mixture-of-LoRA adapter: softmax, gates times activations, gradients.

Plain torch, for every device and number type. `gating_triton.py` has the same functions as one GPU kernel each.

Shapes: T tokens, D input width, N experts, R rank of one expert, M = N R, E gates: N, or N + 1 with the neutral one. K
columns of u = x [A; router; zero rows]^T: activations of the experts (M), logits of the router (E), zeros up to a
multiple of 8.
"""

from __future__ import annotations

import torch
from torch import Tensor

ROWS = 8  # GEMMs whose smallest side is no multiple of 8 run about a third slower


def stack(router_ED: Tensor, A_ND: Tensor, dtype: torch.dtype) -> Tensor:
    """[A; router; zero rows], so that one GEMM serves both: (K, D) in `dtype`."""
    rows = A_ND.shape[0] + router_ED.shape[0]
    padding = A_ND.new_zeros(-rows % ROWS, A_ND.shape[1])
    return torch.cat([A_ND.to(dtype), router_ED.to(dtype), padding.to(dtype)])


def gates(u_TK: Tensor, experts: int, rank: int, gates: int) -> Tensor:
    """Softmax over the router's columns of u, in float32 at least: (T, E)."""
    logits = u_TK[:, experts * rank : experts * rank + gates]
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(dim=-1)


def gated(u_TK: Tensor, gates_TE: Tensor, experts: int, rank: int, scaling: float) -> Tensor:
    """The experts' activations times gate and `scaling`, alpha / r: (T, M)."""
    weight_TN = (gates_TE[:, -experts:] * scaling).to(u_TK.dtype)
    return (u_TK[:, : experts * rank].unflatten(1, (experts, rank)) * weight_TN.unsqueeze(-1)).flatten(1)


def ungated(
    u_TK: Tensor,
    gates_TE: Tensor,
    dz_TM: Tensor,
    extra_TE: Tensor | None,
    experts: int,
    rank: int,
    scaling: float,
) -> Tensor:
    """dL/du, (T, K), from dL/d(gated); `extra_TE` is what another loss adds to dL/d(gates)."""
    first, last = experts * rank, experts * rank + gates_TE.shape[1]
    dz_TNR, a_TNR = (part.unflatten(1, (experts, rank)) for part in (dz_TM, u_TK[:, :first]))
    dgates_TE = torch.zeros_like(gates_TE)
    dgates_TE[:, -experts:] = (dz_TNR * a_TNR).sum(-1, dtype=gates_TE.dtype) * scaling
    if extra_TE is not None:
        dgates_TE += extra_TE
    du_TK = torch.empty_like(u_TK)
    weight_TN = (gates_TE[:, -experts:] * scaling).to(u_TK.dtype)
    torch.mul(dz_TNR, weight_TN.unsqueeze(-1), out=du_TK[:, :first].unflatten(1, (experts, rank)))
    du_TK[:, first:last] = gates_TE * (dgates_TE - (dgates_TE * gates_TE).sum(-1, keepdim=True))
    du_TK[:, last:] = 0
    return du_TK
