"""What lies between the matrix products of a Mixture-of-LoRA adapter: softmax, gates times activations, gradients.

Plain torch, for every device and number type. `gating_triton.py` has the same functions as one GPU kernel each.

All of it lies in memory with the tokens side by side: what acts on experts, ranks or gates then runs along whole rows,
and the products are faster on a CPU too than with the few columns side by side. T may be any number, but rows of GPU
products want multiples of 8, to which batches are padded anyway.

Shapes: T tokens, D input width, N experts, R rank of one expert, M = N R, E gates: N, or N + 1 with the neutral one. K
= M + E rows of u = [A; router] x^T: activations of the experts, logits of the router.
"""

from __future__ import annotations

import torch
from torch import Tensor


def stack(router_ED: Tensor, A_ND: Tensor, dtype: torch.dtype) -> Tensor:
    """Return [A; router], so that one GEMM serves both: (K, D) in `dtype`."""
    return torch.cat([A_ND.to(dtype), router_ED.to(dtype)])


def gates(u_KT: Tensor, gates: int) -> Tensor:
    """Return softmax over the router's rows of u, in float32 at least: (E, T)."""
    return u_KT[-gates:].softmax(dim=0, dtype=torch.promote_types(u_KT.dtype, torch.float32))


def gated(u_KT: Tensor, gates_ET: Tensor, experts: int, scaling: float) -> Tensor:
    """Return the experts' activations times gate and `scaling`, alpha / r: (M, T)."""
    a_MT = u_KT[: -len(gates_ET)]
    return (_per_expert(a_MT, experts) * _weight(gates_ET, experts, scaling, a_MT.dtype)).view_as(a_MT)


def ungated(
    z_MT: Tensor, gates_ET: Tensor, dz_TM: Tensor, extra_ET: Tensor | None, experts: int, scaling: float
) -> Tensor:
    """Return dL/du, (K, T).

    Args:
        z_MT: what `gated` gave.
        gates_ET: what `gates` gave.
        dz_TM: dL/dz, the tokens one below the other.
        extra_ET: what another loss adds to dL/d(gates).
        experts: N.
        scaling: alpha / r.
    """
    dz_NRT, z_NRT = (_per_expert(part, experts) for part in (dz_TM.t().contiguous(), z_MT))
    # Gates times their gradient: all that softmax needs, and z holds the gates as a factor already.
    pull_ET = torch.zeros_like(gates_ET) if extra_ET is None else extra_ET * gates_ET
    pull_ET[-experts:].add_((dz_NRT * z_NRT).sum(1, dtype=gates_ET.dtype))
    da_NRT = dz_NRT * _weight(gates_ET, experts, scaling, z_MT.dtype)
    dlogits_ET = pull_ET.addcmul_(gates_ET, pull_ET.sum(0), value=-1)
    return torch.cat([da_NRT.view_as(z_MT), dlogits_ET.to(z_MT.dtype)])


def _per_expert(part_MT: Tensor, experts: int) -> Tensor:
    """Return (N, R, T); T may be 0."""
    return part_MT.view(experts, len(part_MT) // experts, part_MT.shape[1])


def _weight(gates_ET: Tensor, experts: int, scaling: float, dtype: torch.dtype) -> Tensor:
    return (gates_ET[-experts:] * scaling).to(dtype).unsqueeze(1)
