"""The router loss of CITI as a formula (arXiv:2409.13202, eq. 8 and 9), for autograd.

L_r = var(Z) / mean(Z), Z = I * G, with I = [1+d, 1-d, ...] on tool data and [1-d, 1+d, ...] elsewhere. The paper does
not say over which axis variance and mean run. `scope` decides:
    batch   Z over all unmasked tokens and all gates: one variance (LoRAMoE's whole matrix; the default).
    sample  gates are first averaged over the tokens of each example; one variance over examples and gates.
    token   variance and mean over the gates of each token, then the mean over tokens.
The variance is the unbiased one.

Shapes: T tokens, E = N + 1 gates, S samples.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Scope = Literal["batch", "sample", "token"]
SCOPES: tuple[Scope, ...] = ("batch", "sample", "token")


def importance_matrix(is_tool_T: Tensor, gates: int, delta: float, dtype: torch.dtype) -> Tensor:
    """Return I of eq. 8 for each row: (T, E)."""
    sign_T = torch.where(is_tool_T, 1.0, -1.0).to(dtype)
    signs_TE = torch.cat([sign_T[:, None], -sign_T[:, None].expand(-1, gates - 1)], dim=1)
    return 1 + delta * signs_TE


def router_loss(
    gates_TE: Tensor,
    is_tool_T: Tensor,
    mask_T: Tensor,
    delta: float = 0.95,
    scope: Scope = "batch",
    sample_T: Tensor | None = None,
) -> Tensor:
    """Return L_r of one router, differentiable by autograd.

    Args:
        gates_TE: softmax outputs, each row sums to 1; gate 0 is the tool-unrelated one.
        is_tool_T: True where the token belongs to tool data.
        mask_T: True where the token counts; padding never does.
        delta: in [0, 1].
        scope: see the module's docstring.
        sample_T: the example each token belongs to (any integers); needed for `sample` only.

    Returns:
        A scalar; 0 when no token counts.
    """
    gates_TE, is_tool_T = gates_TE[mask_T], is_tool_T[mask_T]
    if not len(gates_TE):
        return gates_TE.sum()
    if scope == "sample":
        if sample_T is None:
            raise ValueError("scope='sample' needs sample_T")
        _, first_S, index_T = samples_of(sample_T[mask_T])
        gates_TE, is_tool_T = _pool(gates_TE, index_T, len(first_S)), is_tool_T[first_S]
    Z = importance_matrix(is_tool_T, gates_TE.shape[1], delta, gates_TE.dtype) * gates_TE
    if scope == "token":
        return (Z.var(dim=1) / Z.mean(dim=1)).mean()
    return Z.var() / Z.mean()


def samples_of(sample_T: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return distinct samples, one token of each, and every token's sample as an index 0..S-1."""
    values_S, index_T = sample_T.unique(return_inverse=True)
    first_S = torch.zeros_like(values_S).scatter_(0, index_T, torch.arange(len(sample_T), device=sample_T.device))
    return values_S, first_S, index_T


def _pool(gates_TE: Tensor, index_T: Tensor, samples: int) -> Tensor:
    """Return mean gates of each sample: (S, E)."""
    sums_SE = gates_TE.new_zeros(samples, gates_TE.shape[1]).index_add(0, index_T, gates_TE)
    return sums_SE / torch.bincount(index_T, minlength=samples).to(gates_TE.dtype)[:, None]
