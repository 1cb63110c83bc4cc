"""A stand-in for the package `flash_attn`: its functions in plain torch, for a machine without a GPU.

It computes what FlashAttention 2 documents: sequences of different lengths one after the other, causal masks that end
at the last key, windows, fewer key heads than query heads. transformers calls it as it calls the real one.
"""

from __future__ import annotations

import importlib.machinery
import itertools
import sys
import types
from typing import Any

import pytest
import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


class FlashAttention:
    """The functions, and how often each was called.

    Attributes:
        dtypes: what it computes in; the real one takes 16 bits only.
    """

    def __init__(self, dtypes: tuple[torch.dtype, ...]) -> None:
        self.dtypes = dtypes
        self.calls = {"whole": 0, "varlen": 0}

    def flash_attn_func(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        dropout_p: float = 0.0,
        softmax_scale: float | None = None,
        causal: bool = False,
        window_size: tuple[int, int] = (-1, -1),
        softcap: float = 0.0,
        deterministic: bool = False,
    ) -> Tensor:
        """Rows of one length: (B, T, heads, width)."""
        self.calls["whole"] += 1
        rows = zip(q, k, v, strict=True)
        return torch.stack([self._attend(*row, softmax_scale, causal, window_size) for row in rows])

    def flash_attn_varlen_func(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        cu_seqlens_q: Tensor,
        cu_seqlens_k: Tensor,
        max_seqlen_q: int,
        max_seqlen_k: int,
        dropout_p: float = 0.0,
        softmax_scale: float | None = None,
        causal: bool = False,
        window_size: tuple[int, int] = (-1, -1),
        softcap: float = 0.0,
        deterministic: bool = False,
    ) -> Tensor:
        """Sequences one after the other: (tokens, heads, width)."""
        self.calls["varlen"] += 1
        ends_q, ends_k = cu_seqlens_q.tolist(), cu_seqlens_k.tolist()
        assert (ends_q[0], ends_q[-1], ends_k[-1]) == (0, len(q), len(k))
        parts = zip(q.split(_lengths(ends_q)), k.split(_lengths(ends_k)), v.split(_lengths(ends_k)), strict=True)
        return torch.cat([self._attend(*part, softmax_scale, causal, window_size) for part in parts])

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, scale: float | None, causal: bool, window: tuple[int, int]
    ) -> Tensor:
        if q.dtype not in self.dtypes:
            raise RuntimeError("FlashAttention only support fp16 and bf16 data type")
        each = q.shape[1] // k.shape[1]
        q, k, v = q.transpose(0, 1), k.transpose(0, 1), v.transpose(0, 1)
        k, v = k.repeat_interleave(each, 0), v.repeat_interleave(each, 0)
        ahead = torch.arange(k.shape[1])[None, :] - (torch.arange(q.shape[1]) + k.shape[1] - q.shape[1])[:, None]
        hidden = torch.zeros_like(ahead, dtype=torch.bool)
        if causal:
            hidden |= ahead > 0
        if window[0] >= 0:
            hidden |= ahead < -window[0]
        scores = q.float() @ k.float().transpose(1, 2) * (scale if scale is not None else q.shape[-1] ** -0.5)
        weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
        return (weights @ v.float()).transpose(0, 1).to(q.dtype)


def _lengths(ends: list[int]) -> list[int]:
    return [after - before for before, after in itertools.pairwise(ends)]


def install(patch: pytest.MonkeyPatch, dtypes: tuple[torch.dtype, ...] = (*HALF, torch.float32)) -> FlashAttention:
    """Make transformers and LLaMA-Factory see `flash_attn`, and a device that runs it, until `patch` is undone."""
    from transformers import modeling_flash_attention_utils as utilities
    from transformers import utils

    found = FlashAttention(dtypes)
    package, padding = types.ModuleType("flash_attn"), types.ModuleType("flash_attn.bert_padding")
    package.__spec__ = importlib.machinery.ModuleSpec("flash_attn", None, is_package=True)
    package.__version__ = "2.8.3"
    package.flash_attn_func, package.flash_attn_varlen_func = found.flash_attn_func, found.flash_attn_varlen_func
    package.flash_attn_with_kvcache = None
    padding.pad_input, padding.unpad_input = utilities._pad_input, utilities._unpad_input
    patch.setitem(sys.modules, "flash_attn", package)
    patch.setitem(sys.modules, "flash_attn.bert_padding", padding)
    row: dict[str, Any] = utilities.FLASH_ATTENTION_COMPATIBILITY_MATRIX[2]
    patch.setitem(row, "general_availability_check", _yes)
    patch.setitem(row, "pkg_availability_check", _yes)
    patch.setitem(row, "supported_devices", ((_yes, "cpu"),))
    patch.setattr(utilities, "is_flash_attn_2_available", _yes)
    patch.setattr(utils, "is_flash_attn_2_available", _yes)
    patch.setattr(utilities, "_loaded_implementation", None)
    return found


def _yes(*_: Any, **__: Any) -> bool:
    return True
