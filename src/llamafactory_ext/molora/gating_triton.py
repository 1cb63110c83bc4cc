"""The functions of `gating.py` as one Triton kernel each, in place of about twenty small ones per adapted linear.

The matrix products stay torch's. A program holds a few tokens as a tile (tokens, experts, rank) and reads and writes
each number once. It rounds where `gating.py` rounds, but for the products under the gates' gradients, which it adds up
unrounded. `TRITON_INTERPRET=1`, set before Python starts, runs the kernels on the CPU (slowly, for tests).

Shapes: those of `gating.py`. N2 and R2 are N and R raised to powers of two, as Triton's tiles are; TOKENS and
COLUMNS are what one program takes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import OptionError

try:
    import triton
    import triton.language as tl
except ImportError as error:
    raise OptionError("Kernel triton cannot be used, as Triton is not installed; set citi_kernel: torch.") from error

TILE = 1024  # numbers in a program's tile: rows of tokens long enough to be read at once, programs for a whole GPU
COLUMNS = 1024


@triton.jit
def _stack(
    A_ptr: tl.tensor,
    router_ptr: tl.tensor,
    out_ptr: tl.tensor,
    D: tl.tensor,
    M: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    row, d = tl.program_id(0), tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    place = row.to(tl.int64) * D + d
    value = tl.load(A_ptr + place, mask=(d < D) & (row < M), other=0.0).to(out_ptr.dtype.element_ty)
    router = tl.load(router_ptr + place - M * D, mask=(d < D) & (row >= M), other=0.0)
    tl.store(out_ptr + place, tl.where(row < M, value, router.to(out_ptr.dtype.element_ty)), mask=d < D)


@triton.jit
def _gates(
    logits_ptr: tl.tensor,
    gates_ptr: tl.tensor,
    tokens: tl.tensor,
    E: tl.constexpr,
    E2: tl.constexpr,
    TOKENS: tl.constexpr,
) -> None:
    t = tl.program_id(0).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)
    e = tl.arange(0, E2)
    place = t[:, None] + e[None, :] * tokens
    mask = (t < tokens)[:, None] & (e < E)[None, :]
    logit = tl.load(logits_ptr + place, mask=mask, other=0.0).to(gates_ptr.dtype.element_ty)
    logit = tl.where((e < E)[None, :], logit, -float("inf"))
    power = tl.exp(logit - tl.max(logit, axis=1)[:, None])
    tl.store(gates_ptr + place, power / tl.sum(power, axis=1)[:, None], mask=mask)


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
    N2: tl.constexpr,
    R2: tl.constexpr,
    TOKENS: tl.constexpr,
) -> None:
    t = tl.program_id(0).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)
    n, r = tl.arange(0, N2), tl.arange(0, R2)
    mask = (t < tokens)[:, None] & (n < N)[None, :]
    mask_3d = mask[:, :, None] & (r < R)[None, None, :]
    place = t[:, None, None] + (n[None, :, None] * R + r[None, None, :]) * tokens
    gate = tl.load(gates_ptr + t[:, None] + (E - N + n)[None, :] * tokens, mask=mask, other=0.0)
    weight = (gate * scaling).to(u_ptr.dtype.element_ty).to(gate.dtype)
    a = tl.load(u_ptr + place, mask=mask_3d, other=0.0).to(gate.dtype)
    tl.store(z_ptr + place, (a * weight[:, :, None]).to(z_ptr.dtype.element_ty), mask=mask_3d)


@triton.jit
def _ungated(
    z_ptr: tl.tensor,
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
    N2: tl.constexpr,
    R2: tl.constexpr,
    TOKENS: tl.constexpr,
) -> None:
    t = tl.program_id(0).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)
    n, r = tl.arange(0, N2), tl.arange(0, R2)
    here = t < tokens
    mask = here[:, None] & (n < N)[None, :]
    mask_3d = mask[:, :, None] & (r < R)[None, None, :]
    low = du_ptr.dtype.element_ty
    row = n[None, :, None] * R + r[None, None, :]
    place, place_3d = t[:, None] + (E - N + n)[None, :] * tokens, t[:, None, None] + row * tokens
    gate = tl.load(gates_ptr + place, mask=mask, other=0.0)
    z = tl.load(z_ptr + place_3d, mask=mask_3d, other=0.0).to(gate.dtype)
    dz = tl.load(dz_ptr + t[:, None, None] * (N * R) + row, mask=mask_3d, other=0.0).to(gate.dtype)
    weight = (gate * scaling).to(low).to(gate.dtype)
    tl.store(du_ptr + place_3d, (dz * weight[:, :, None]).to(low), mask=mask_3d)
    pull = tl.sum(z * dz, axis=2)
    if EXTRA:
        pull += gate * tl.load(extra_ptr + place, mask=mask, other=0.0)
    total = tl.sum(pull, axis=1)
    if E > N:
        neutral = tl.load(gates_ptr + t, mask=here, other=0.0)
        pull_neutral = tl.zeros_like(neutral)
        if EXTRA:
            pull_neutral += neutral * tl.load(extra_ptr + t, mask=here, other=0.0)
        total += pull_neutral
        tl.store(du_ptr + t + N * R * tokens, (pull_neutral - neutral * total).to(low), mask=here)
    dlogit = (pull - gate * total[:, None]).to(low)
    tl.store(du_ptr + t[:, None] + (N * R + E - N + n)[None, :] * tokens, dlogit, mask=mask)


def stack(router_ED: Tensor, A_ND: Tensor, dtype: torch.dtype) -> Tensor:
    """Compute the same as `gating.stack`."""
    M, D = A_ND.shape
    out_KD = A_ND.new_empty(M + len(router_ED), D, dtype=dtype)
    grid = (len(out_KD), triton.cdiv(D, COLUMNS))
    with torch.cuda.device_of(out_KD):
        _stack[grid](A_ND.contiguous(), router_ED.contiguous(), out_KD, D, M=M, COLUMNS=COLUMNS)
    return out_KD


def gates(u_KT: Tensor, gates: int) -> Tensor:
    """Compute the same as `gating.gates`."""
    T, E2 = u_KT.shape[1], triton.next_power_of_2(gates)
    gates_ET = u_KT.new_empty(gates, T, dtype=torch.promote_types(u_KT.dtype, torch.float32))
    tokens = max(1, TILE // E2)
    with torch.cuda.device_of(u_KT):
        _gates[(triton.cdiv(T, tokens),)](u_KT[-gates:], gates_ET, T, E=gates, E2=E2, TOKENS=tokens)
    return gates_ET


def gated(u_KT: Tensor, gates_ET: Tensor, experts: int, scaling: float) -> Tensor:
    """Compute the same as `gating.gated`."""
    (K, T), E = u_KT.shape, len(gates_ET)
    z_MT = u_KT.new_empty(K - E, T)
    size = _size(K - E, experts, E)
    with torch.cuda.device_of(u_KT):
        _gated[(triton.cdiv(T, size["TOKENS"]),)](u_KT, gates_ET, z_MT, T, scaling=scaling, **size)
    return z_MT


def ungated(
    z_MT: Tensor, gates_ET: Tensor, dz_TM: Tensor, extra_ET: Tensor | None, experts: int, scaling: float
) -> Tensor:
    """Compute the same as `gating.ungated`."""
    (M, T), E = z_MT.shape, len(gates_ET)
    du_KT = z_MT.new_empty(M + E, T)
    size = _size(M, experts, E)
    extra = gates_ET if extra_ET is None else extra_ET.contiguous()  # any address will do for what is not read
    with torch.cuda.device_of(z_MT):
        _ungated[(triton.cdiv(T, size["TOKENS"]),)](
            z_MT, gates_ET, dz_TM, extra, du_KT, T, scaling=scaling, EXTRA=extra_ET is not None, **size
        )
    return du_KT


def _size(ranks: int, experts: int, gates: int) -> dict[str, int]:
    rank = ranks // experts
    N2, R2 = triton.next_power_of_2(experts), triton.next_power_of_2(rank)
    return {"N": experts, "R": rank, "E": gates, "N2": N2, "R2": R2, "TOKENS": max(1, TILE // (N2 * R2))}
