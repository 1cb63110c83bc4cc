"""The functions of `gating.py` as one Triton kernel each, in place of about thirty small ones per adapted linear.

The matrix products stay torch's. A program holds a few tokens as a tile (tokens, experts, rank) and reads and writes
each number once. It rounds where `gating.py` rounds, but for the products under the gates' gradients, which it adds up
unrounded. `TRITON_INTERPRET=1`, set before Python starts, runs the kernels on the CPU (slowly, for tests).

Shapes: those of `gating.py`. N2 and R2 are N and R raised to powers of two, as Triton's tiles are; TOKENS and
COLUMNS are what one program takes.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .gating import ROWS

TILE = 512  # numbers in a program's tile: few, so that there are programs enough for all multiprocessors
COLUMNS = 1024


@triton.jit
def _stack(
    A_ptr: tl.tensor,
    router_ptr: tl.tensor,
    out_ptr: tl.tensor,
    D: tl.tensor,
    M: tl.constexpr,
    E: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    row, d = tl.program_id(0), tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    place = row.to(tl.int64) * D + d
    value = tl.load(A_ptr + place, mask=(d < D) & (row < M), other=0.0).to(out_ptr.dtype.element_ty)
    router = tl.load(router_ptr + place - M * D, mask=(d < D) & (row >= M) & (row < M + E), other=0.0)
    tl.store(out_ptr + place, tl.where(row < M, value, router.to(out_ptr.dtype.element_ty)), mask=d < D)


@triton.jit
def _gates(
    u_ptr: tl.tensor,
    gates_ptr: tl.tensor,
    tokens: tl.tensor,
    N: tl.constexpr,
    M: tl.constexpr,
    E: tl.constexpr,
    K: tl.constexpr,
    N2: tl.constexpr,
    TOKENS: tl.constexpr,
) -> None:
    t = tl.program_id(0).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)
    n = tl.arange(0, N2)
    here = t < tokens
    mask = here[:, None] & (n < N)[None, :]
    high = gates_ptr.dtype.element_ty
    logit = tl.load(u_ptr + t[:, None] * K + (M + E - N) + n[None, :], mask=mask, other=0.0).to(high)
    logit = tl.where((n < N)[None, :], logit, -float("inf"))
    greatest = tl.max(logit, axis=1)
    if E > N:
        neutral = tl.load(u_ptr + t * K + M, mask=here, other=0.0).to(high)
        greatest = tl.maximum(greatest, neutral)
    power = tl.exp(logit - greatest[:, None])
    total = tl.sum(power, axis=1)
    if E > N:
        neutral = tl.exp(neutral - greatest)
        total += neutral
        tl.store(gates_ptr + t * E, neutral / total, mask=here)
    tl.store(gates_ptr + t[:, None] * E + (E - N) + n[None, :], power / total[:, None], mask=mask)


@triton.jit
def _gated(
    u_ptr: tl.tensor,
    gates_ptr: tl.tensor,
    z_ptr: tl.tensor,
    tokens: tl.tensor,
    scaling: tl.constexpr,
    N: tl.constexpr,
    R: tl.constexpr,
    E: tl.constexpr,
    K: tl.constexpr,
    N2: tl.constexpr,
    R2: tl.constexpr,
    TOKENS: tl.constexpr,
) -> None:
    t = tl.program_id(0).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)
    n, r = tl.arange(0, N2), tl.arange(0, R2)
    mask = (t < tokens)[:, None] & (n < N)[None, :]
    mask_3d = mask[:, :, None] & (r < R)[None, None, :]
    column = n[None, :, None] * R + r[None, None, :]
    gate = tl.load(gates_ptr + t[:, None] * E + (E - N) + n[None, :], mask=mask, other=0.0)
    weight = (gate * scaling).to(u_ptr.dtype.element_ty).to(gate.dtype)
    a = tl.load(u_ptr + t[:, None, None] * K + column, mask=mask_3d, other=0.0).to(gate.dtype)
    z = (a * weight[:, :, None]).to(z_ptr.dtype.element_ty)
    tl.store(z_ptr + t[:, None, None] * (N * R) + column, z, mask=mask_3d)


@triton.jit
def _ungated(
    u_ptr: tl.tensor,
    gates_ptr: tl.tensor,
    dz_ptr: tl.tensor,
    extra_ptr: tl.tensor,
    du_ptr: tl.tensor,
    tokens: tl.tensor,
    scaling: tl.constexpr,
    EXTRA: tl.constexpr,
    N: tl.constexpr,
    R: tl.constexpr,
    E: tl.constexpr,
    K: tl.constexpr,
    N2: tl.constexpr,
    R2: tl.constexpr,
    ROWS: tl.constexpr,
    TOKENS: tl.constexpr,
) -> None:
    t = tl.program_id(0).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)
    n, r = tl.arange(0, N2), tl.arange(0, R2)
    here = t < tokens
    mask = here[:, None] & (n < N)[None, :]
    mask_3d = mask[:, :, None] & (r < R)[None, None, :]
    column = n[None, :, None] * R + r[None, None, :]
    low = du_ptr.dtype.element_ty
    place = t[:, None] * E + (E - N) + n[None, :]
    gate = tl.load(gates_ptr + place, mask=mask, other=0.0)
    a = tl.load(u_ptr + t[:, None, None] * K + column, mask=mask_3d, other=0.0).to(gate.dtype)
    dz = tl.load(dz_ptr + t[:, None, None] * (N * R) + column, mask=mask_3d, other=0.0).to(gate.dtype)
    weight = (gate * scaling).to(low).to(gate.dtype)
    tl.store(du_ptr + t[:, None, None] * K + column, (dz * weight[:, :, None]).to(low), mask=mask_3d)
    dgate = tl.sum(a * dz, axis=2) * scaling
    if EXTRA:
        dgate += tl.load(extra_ptr + place, mask=mask, other=0.0)
    mean = tl.sum(dgate * gate, axis=1)
    if E > N:
        neutral = tl.load(gates_ptr + t * E, mask=here, other=0.0)
        dneutral = tl.zeros_like(neutral)
        if EXTRA:
            dneutral += tl.load(extra_ptr + t * E, mask=here, other=0.0)
        mean += dneutral * neutral
        tl.store(du_ptr + t * K + N * R, (neutral * (dneutral - mean)).to(low), mask=here)
    dlogit = (gate * (dgate - mean[:, None])).to(low)
    tl.store(du_ptr + t[:, None] * K + (N * R + E - N) + n[None, :], dlogit, mask=mask)
    last = N * R + E + tl.arange(0, ROWS)
    padding = tl.zeros((TOKENS, ROWS), dtype=low)
    tl.store(du_ptr + t[:, None] * K + last[None, :], padding, mask=here[:, None] & (last < K)[None, :])


def stack(router_ED: Tensor, A_ND: Tensor, dtype: torch.dtype) -> Tensor:
    """As `gating.stack`."""
    (M, D), E = A_ND.shape, len(router_ED)
    out_KD = A_ND.new_empty(-(-(M + E) // ROWS) * ROWS, D, dtype=dtype)
    grid = (len(out_KD), triton.cdiv(D, COLUMNS))
    with torch.cuda.device_of(out_KD):
        _stack[grid](A_ND.contiguous(), router_ED.contiguous(), out_KD, D, M=M, E=E, COLUMNS=COLUMNS)
    return out_KD


def gates(u_TK: Tensor, experts: int, rank: int, gates: int) -> Tensor:
    """As `gating.gates`."""
    T, K = u_TK.shape
    N2 = triton.next_power_of_2(experts)
    size = {"N": experts, "M": experts * rank, "E": gates, "K": K, "N2": N2, "TOKENS": max(1, TILE // N2)}
    gates_TE = u_TK.new_empty(T, gates, dtype=torch.promote_types(u_TK.dtype, torch.float32))
    with torch.cuda.device_of(u_TK):
        _gates[(triton.cdiv(T, size["TOKENS"]),)](u_TK, gates_TE, T, **size)
    return gates_TE


def gated(u_TK: Tensor, gates_TE: Tensor, experts: int, rank: int, scaling: float) -> Tensor:
    """As `gating.gated`."""
    T = len(u_TK)
    z_TM = u_TK.new_empty(T, experts * rank)
    size = _size(u_TK, gates_TE, experts, rank)
    with torch.cuda.device_of(u_TK):
        _gated[(triton.cdiv(T, size["TOKENS"]),)](u_TK, gates_TE, z_TM, T, scaling=scaling, **size)
    return z_TM


def ungated(
    u_TK: Tensor,
    gates_TE: Tensor,
    dz_TM: Tensor,
    extra_TE: Tensor | None,
    experts: int,
    rank: int,
    scaling: float,
) -> Tensor:
    """As `gating.ungated`."""
    T, du_TK = len(u_TK), torch.empty_like(u_TK)
    size = _size(u_TK, gates_TE, experts, rank)
    extra = gates_TE if extra_TE is None else extra_TE.contiguous()  # any address will do for what is not read
    with torch.cuda.device_of(u_TK):
        _ungated[(triton.cdiv(T, size["TOKENS"]),)](
            u_TK, gates_TE, dz_TM, extra, du_TK, T, scaling=scaling, EXTRA=extra_TE is not None, ROWS=ROWS, **size
        )
    return du_TK


def _size(u_TK: Tensor, gates_TE: Tensor, experts: int, rank: int) -> dict[str, int]:
    N2, R2 = triton.next_power_of_2(experts), triton.next_power_of_2(rank)
    tokens = max(1, TILE // (N2 * R2))
    return {
        "N": experts,
        "R": rank,
        "E": gates_TE.shape[1],
        "K": u_TK.shape[1],
        "N2": N2,
        "R2": R2,
        "TOKENS": tokens,
    }
