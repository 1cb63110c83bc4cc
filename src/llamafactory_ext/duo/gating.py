"""The gate of a group of layers: its logits, its rows, and the loss that keeps the rows apart.

DATA's gate (arXiv:2502.11482) has rows K, A and W, k of each. For a token with hidden state h, a = A h and
a^ = a / |a|: the logit is the sum over rows of a^ times (sum_d K^_d) (sum_d W_d) / sqrt(D), K^ being K's row of unit
length. The released code sums K^ over d where its names say a cosine; this keeps its formula. K and W act through one
scalar per row, c, so the logit is a^ . c. Values and gradients are those of the released code.

Shapes: B sequences, L tokens each, T = B L, D width, k rows, the leading 2 for the low and the high gate.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..errors import OptionError
from ..molora.kernel import product_type
from ..molora.plain import transformed

_TINY = 1e-12  # below it a row's or a token's length counts as this, so that zeros stay zeros


def row_scalars(K_2kD: Tensor, W_2kD: Tensor) -> Tensor:
    """Return c, all that K and W do: (2, k), in float32 at least."""
    dtype = torch.promote_types(K_2kD.dtype, torch.float32)
    K, W = K_2kD.to(dtype), W_2kD.to(dtype)
    unit_sums = K.sum(-1) / torch.linalg.vector_norm(K, dim=-1).clamp_min(_TINY)
    return unit_sums * W.sum(-1) / K.shape[-1] ** 0.5


class _Logits(torch.autograd.Function):
    """The logits of both gates from one matrix product; keeps h, a and the lengths of a."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, old_2kD: Tensor, new_2mD: Tensor, c_2k: Tensor, dtype: torch.dtype) -> Tensor:
        A_2kD = torch.cat([old_2kD, new_2mD], dim=1).to(dtype)
        h_TD = h.reshape(-1, h.shape[-1]).to(dtype)
        a_2kT = (A_2kD.flatten(0, 1) @ h_TD.t()).view(2, -1, len(h_TD))
        length_2T = torch.linalg.vector_norm(a_2kT, dim=1, dtype=c_2k.dtype).clamp_min(_TINY)
        ctx.save_for_backward(h, old_2kD, new_2mD, c_2k, a_2kT, length_2T)
        return _weighed(c_2k, a_2kT) / length_2T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_2T: Tensor) -> tuple[Tensor | None, ...]:
        h, old_2kD, new_2mD, c_2k, a_2kT, length_2T = ctx.saved_tensors
        need_h, _, need_A, need_c, _ = ctx.needs_input_grad
        dtype, slope_2T = a_2kT.dtype, grad_2T / length_2T
        grad_h = grad_A = grad_c = None
        if need_c:
            grad_c = torch.bmm(a_2kT.to(c_2k.dtype), slope_2T.unsqueeze(-1)).squeeze(-1)
        if need_h or need_A:
            along_2T = _weighed(c_2k, a_2kT).div_(length_2T.square()).mul_(slope_2T)
            da_2kT = (c_2k.unsqueeze(-1) * slope_2T.unsqueeze(1)).addcmul_(
                a_2kT.to(c_2k.dtype), along_2T.unsqueeze(1), value=-1
            )
            da_2kT = da_2kT.to(dtype)
            if need_A:
                new_rows = da_2kT[:, old_2kD.shape[1] :].flatten(0, 1)
                grad_A = (new_rows @ h.reshape(-1, h.shape[-1]).to(dtype)).view(new_2mD.shape).to(new_2mD.dtype)
            if need_h:
                A_2kD = torch.cat([old_2kD, new_2mD], dim=1).to(dtype)
                grad_h = (da_2kT.flatten(0, 1).t() @ A_2kD.flatten(0, 1)).view(h.shape).to(h.dtype)
        return grad_h, None, grad_A, grad_c, None


def _weighed(c_2k: Tensor, a_2kT: Tensor) -> Tensor:
    """Return c . a of every token: (2, T)."""
    return torch.bmm(c_2k.unsqueeze(1), a_2kT.to(c_2k.dtype)).squeeze(1)


def gate_logits(h: Tensor, old_2kD: Tensor, new_2mD: Tensor, c_2k: Tensor) -> Tensor:
    """Return a^ . c of every token, in float32 at least: (2, B, L).

    Args:
        h: hidden states that enter the group's first layer: (B, L, D).
        old_2kD: rows of A of earlier tasks, which get no gradient.
        new_2mD: rows of A of this task.
        c_2k: what `row_scalars` gave for all rows, the earlier ones first.
    """
    device, dtype = h.device.type, product_type(h)
    if transformed():
        a = torch.einsum("bld,gkd->gblk", h.to(dtype), torch.cat([old_2kD, new_2mD], dim=1).to(dtype)).to(c_2k.dtype)
        a = a / torch.linalg.vector_norm(a, dim=-1, keepdim=True).clamp_min(_TINY)
        return torch.einsum("gblk,gk->gbl", a, c_2k)
    if torch.amp.autocast_mode.is_autocast_available(device):
        with torch.autocast(device, enabled=False):
            logits: Tensor = _Logits.apply(h, old_2kD, new_2mD, c_2k, dtype)
    else:
        logits = _Logits.apply(h, old_2kD, new_2mD, c_2k, dtype)
    return logits.view(2, *h.shape[:-1])


def orthogonality(K_2kD: Tensor, A_2kD: Tensor, W_2kD: Tensor) -> Tensor:
    """Return how far the rows are from being orthonormal: 0 if they are.

    The mean over both gates of [p(K^) + p(A) + p(W)] / 3, where p(X) is the mean of (X X^T - I)^2; the released code's
    `ortho_mu` multiplies it.
    """
    dtype = torch.promote_types(K_2kD.dtype, torch.float32)
    K = K_2kD.to(dtype)
    K = K / torch.linalg.vector_norm(K, dim=-1, keepdim=True).clamp_min(_TINY)
    rows = torch.stack([K, A_2kD.to(dtype), W_2kD.to(dtype)])
    identity = torch.eye(rows.shape[-2], dtype=dtype, device=rows.device)
    return (rows @ rows.transpose(-1, -2) - identity).square().mean()


def fresh_rows(old_kD: Tensor, count: int, seed: int) -> Tensor:
    """Return rows of unit length that are orthogonal to one another and to all earlier rows: (count, D), float32.

    The released code fills later tasks' rows with zeros, with which no gate ever learns, or projects on the rows as
    they were trained, which are no longer orthogonal. Here the earlier rows' span is taken.

    Raises:
        OptionError: the width has no room for them.
    """
    tasks_rows, width = old_kD.shape
    if tasks_rows + count > width:
        raise OptionError(
            f"The gates have {tasks_rows} rows already and shall get {count} more, but the model is {width} wide; the "
            "rows must be orthogonal. Use fewer components, or begin a new sequence of tasks."
        )
    random = torch.randn(width, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if tasks_rows:
        basis, singular, _ = torch.linalg.svd(old_kD.double().cpu().t(), full_matrices=False)
        basis = basis[:, singular > singular.max().clamp_min(_TINY) * 1e-10]
        for _ in range(2):  # twice is enough (Giraud et al., 2005)
            random = random - basis @ (basis.t() @ random)
    return torch.linalg.qr(random).Q.t().float().contiguous()
