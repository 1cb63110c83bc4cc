"""A stand-in for the package `liger_kernel`: what it replaces in Llama, in plain torch, for a machine without a GPU.

Like the real kernels, it writes where autograd does not see it: rotary embeddings over the projections' outputs, the
gradients of gate and up projections over these outputs, the gradient of a norm over its output's gradient.
"""

from __future__ import annotations

import importlib.machinery
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.models.llama import modeling_llama


def install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[dict[str, Any]]:
    """Put the package in the place of what is installed; the arguments of each call that applies it.

    Args:
        monkeypatch: takes everything back.
        folder: for what pip would write about the package.
    """
    calls: list[dict[str, Any]] = []

    def apply_liger_kernel_to_llama(**options: Any) -> None:
        calls.append(options)
        monkeypatch.setattr(modeling_llama, "apply_rotary_pos_emb", rotate)
        monkeypatch.setattr(modeling_llama, "LlamaMLP", GatedMlp)
        monkeypatch.setattr(modeling_llama, "LlamaRMSNorm", Norm)
        monkeypatch.setattr(modeling_llama.LlamaForCausalLM, "forward", forward)

    for name in ("liger_kernel", "liger_kernel.transformers"):
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        module.__path__ = []
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules["liger_kernel.transformers"].apply_liger_kernel_to_llama = apply_liger_kernel_to_llama  # type: ignore[attr-defined]
    about = folder / "liger_kernel-0.8.5.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text("Metadata-Version: 2.1\nName: liger-kernel\nVersion: 0.8.5\n", encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("TRITON_INTERPRET", "1")  # as on a GPU: the kernels are there
    return calls


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return nn.functional.silu(gate) * up

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        sigmoid = gate.sigmoid()
        moved = grad * up * sigmoid * (1 + gate * (1 - sigmoid)), grad * gate * sigmoid
        for place, value in zip((gate, up), moved, strict=True):
            place.data.copy_(value)
        return gate, up


class GatedMlp(modeling_llama.LlamaMLP):
    """A gated MLP whose backward writes over what gate and up projections returned."""

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.down_proj(_Gated.apply(self.gate_proj(x), self.up_proj(x)))
        return found


class _Normed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.eps = eps
        return weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + ctx.eps)
        dweight = (grad * x * scale).flatten(0, -2).sum(0)
        inner = grad * weight
        dx = scale * (inner - x * scale.square() * (inner * x).mean(-1, keepdim=True))
        grad.data.copy_(dx)
        return grad, dweight, None


class Norm(modeling_llama.LlamaRMSNorm):
    """A norm whose backward writes over the gradient that it gets."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        found: Tensor = _Normed.apply(hidden_states, self.weight, self.variance_epsilon)
        return found


for _kind in (GatedMlp, Norm):
    _kind.__module__ = "liger_kernel.transformers.modules"


class _Rotated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        x.data.copy_(x * cos + modeling_llama.rotate_half(x) * sin)
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        first, second = (grad * sin).chunk(2, dim=-1)
        return grad * cos + torch.cat((second, -first), dim=-1), None, None


def rotate(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1) -> tuple[Tensor, Tensor]:
    """Rotary embeddings, written over the projections' outputs."""
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    return _Rotated.apply(q, cos, sin), _Rotated.apply(k, cos, sin)


def forward(
    self: Any, input_ids: Tensor, labels: Tensor | None = None, logits_to_keep: int = 0, **options: Any
) -> Any:
    """A forward pass without logits where it is given labels."""
    items = options.pop("num_items_in_batch", None)
    hidden = self.model(input_ids=input_ids, **options).last_hidden_state
    if labels is None:
        return modeling_llama.CausalLMOutputWithPast(logits=self.lm_head(hidden[:, slice(-logits_to_keep, None)]))
    logits, targets = self.lm_head(hidden)[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    loss = nn.functional.cross_entropy(logits, targets, reduction="mean" if items is None else "sum")
    return modeling_llama.CausalLMOutputWithPast(loss=loss if items is None else loss / items)
