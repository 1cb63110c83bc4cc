"""Rows 14 to 16: DATA's linear, gates and a step, against PEFT's LoRA, the published formulas and the frozen base."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

import torch
from measure import Figure, Row, kept_bytes, peak_bytes, time_ratio, times
from mi import floor_model, step_on
from peers import lora_linear
from peft import LoraConfig, get_peft_model
from setting import Setting, twin
from torch import Tensor, nn

from llamafactory_ext.citi.importance import linear_components
from llamafactory_ext.duo import DataAdapterConfig
from llamafactory_ext.duo.gate import GateRows, Opened
from llamafactory_ext.duo.gating import gate_logits, row_scalars
from llamafactory_ext.duo.layer import DataAdapterLinear

LOW, HIGH = 4, 16
TOKENS = 256
GATE_ROWS = (8, 64, 120)  # of 1, 8 and 15 tasks
LORA = f"PEFT LoRA r={LOW + HIGH}"
PUBLISHED = "published formula"


class Published(nn.Module):
    """y = W0 x + g1 B1 A1 x + g2 B2 A2 x as it is written, gates on outputs, by autograd."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base_layer = base
        factory: Mapping[str, Any] = {"bias": False, "device": base.weight.device, "dtype": base.weight.dtype}
        self.A = nn.ModuleList(nn.Linear(base.in_features, rank, **factory) for rank in (LOW, HIGH))
        self.B = nn.ModuleList(nn.Linear(rank, base.out_features, **factory) for rank in (LOW, HIGH))

    def forward(self, x: Tensor, gates: tuple[Tensor, Tensor]) -> Tensor:
        y: Tensor = self.base_layer(x)
        for A, B, gate in zip(self.A, self.B, gates, strict=True):
            y = y + gate * B(A(x))
        return y


def linears(setting: Setting) -> list[Row]:
    """Row 14."""
    return [_linear(d_in, d_out, setting) for d_in, d_out in setting.shape.alone]


def _linear(d_in: int, d_out: int, setting: Setting) -> Row:
    device, tokens = setting.device, min(TOKENS, setting.shape.alone_tokens)
    torch.manual_seed(0)
    base = nn.Linear(d_in, d_out, bias=False, device=device).requires_grad_(False)
    ours = DataAdapterLinear(base, Opened())
    ours.update_layer("default", low_rank=LOW, high_rank=HIGH, init="kaiming", gated=True, init_weights=False)
    lora, published = lora_linear(base, LOW + HIGH), Published(base)
    x = torch.randn(1, tokens, d_in, device=device).requires_grad_()
    grad = torch.randn(1, tokens, d_out, device=device)
    gates = torch.rand(2, 1, tokens, device=device).requires_grad_()
    single = tuple(torch.rand(1, 1, 1, device=device).requires_grad_() for _ in range(2))

    def ours_forward() -> Tensor:
        ours.opened.gates["default"] = gates
        return ours(x)

    forwards: dict[str, Callable[[], Tensor]] = {
        "DATA": ours_forward,
        LORA: lambda: lora(x),
        PUBLISHED: lambda: published(x, single),
    }

    def step(forward: Callable[[], Tensor]) -> None:
        for tensor in (x, gates, *single, *ours.parameters(), *lora.parameters(), *published.parameters()):
            tensor.grad = None
        forward().backward(grad)

    calls = {name: lambda forward=forward: step(forward) for name, forward in forwards.items()}
    found = times(calls, rounds=2 * setting.rounds, device=device)  # the first two are close
    known = {"x": x, "gates": gates, **dict(ours.named_parameters())}
    row = Row("14", f"DATA linear {d_in} x {d_out}, forward + backward, ranks {LOW} + {HIGH}", {"tokens": tokens})
    row.figures = [
        time_ratio(f"time / {LORA}", "DATA", LORA, found, 1.02),
        time_ratio(f"time / {PUBLISHED}", "DATA", PUBLISHED, found, 0.90 if d_in == d_out == 1024 else None),
        Figure(
            "kept per token beyond x", kept_bytes(ours_forward, known) / tokens, 4 * (LOW + HIGH) + 16, unit="bytes"
        ),
    ]
    return row


def gates(setting: Setting) -> list[Row]:
    """Row 15."""
    width = setting.shape.alone[-1][0]
    return [_gates(width, min(rows, width // 2), setting) for rows in GATE_ROWS]


def _gates(width: int, rows: int, setting: Setting) -> Row:
    device, tokens = setting.device, min(TOKENS, setting.shape.alone_tokens)
    gate = GateRows("token", width, rows, 1, 0).to(device)
    h = torch.randn(1, tokens, width, device=device).requires_grad_()

    def ours() -> Tensor:
        logits = gate_logits(h, gate.old_A, gate.new_A, row_scalars(gate.new_K, gate.new_W))
        return logits.sigmoid().sum()

    def published() -> Tensor:
        total = h.new_zeros(())
        for side in (0, 1):
            K, A, W = gate.new_K[side], gate.new_A[side], gate.new_W[side]
            a = h @ A.t()
            a = a / a.norm(dim=-1, keepdim=True)
            strength = torch.einsum("blk,kd->blk", a, K / K.norm(dim=-1, keepdim=True)) / width**0.5
            total = total + torch.einsum("blk,kd->bld", strength, W).sum((1, 2)).sigmoid().sum()
        return total

    def step(forward: Callable[[], Tensor]) -> None:
        h.grad = None
        gate.zero_grad(set_to_none=True)
        forward().backward()

    calls = {"DATA": lambda: step(ours), PUBLISHED: lambda: step(published)}
    found = times(calls, rounds=setting.rounds, device=device)
    known = {"h": h, **dict(gate.named_parameters())}
    # What depends on rows and not on tokens: what the scalars need, and the scalars.
    fixed = kept_bytes(lambda: row_scalars(gate.new_K, gate.new_W), known) + 2 * rows * 4
    row = Row("15", f"DATA gates, width {width}, {rows} rows, forward + backward", {"tokens": tokens})
    row.figures = [
        time_ratio(f"time / {PUBLISHED}", "DATA", PUBLISHED, found, 0.60),
        Figure("kept per token beyond h", (kept_bytes(ours, known) - fixed) / tokens, 8 * rows + 16, unit="bytes"),
    ]
    return row


def against_the_floor(setting: Setting) -> list[Row]:
    """Row 16."""
    base, batch = setting.model(), setting.batch()
    adapted = [name for name in linear_components(base) if ".layers." in f".{name}"]
    torch.manual_seed(0)
    shape = {"low_rank": LOW, "high_rank": HIGH, "components": 8, "init_weights": False}
    ours: Any = get_peft_model(twin(base), DataAdapterConfig(target_modules=adapted, **shape))
    config = LoraConfig(r=LOW + HIGH, lora_alpha=LOW + HIGH, target_modules=adapted, init_lora_weights=False)
    lora: Any = get_peft_model(twin(base), config)
    floor = floor_model(base, adapted[0])
    calls = {
        "floor": step_on(floor, batch, floor.lm_head),
        "DATA": step_on(ours, batch, ours.get_base_model().lm_head),
        LORA: step_on(lora, batch, lora.get_base_model().lm_head),
    }
    found = times(calls, rounds=setting.rounds, device=setting.device)
    memory = {name: peak_bytes(call, setting.device) for name, call in calls.items()}
    row = Row("16", "DATA step on all linears, gates included / frozen forward + dX")
    row.settings = setting.describe(base, memory, adapted=len(adapted))
    row.figures = [
        time_ratio("time / floor", "DATA", "floor", found, 1.03),
        time_ratio(f"{LORA}: time / floor", LORA, "floor", found),
        time_ratio(f"time / {LORA}", "DATA", LORA, found),
        Figure("peak / floor", memory["DATA"] / memory["floor"]),
        Figure("tokens per second", batch.labels.numel() / statistics.median(found["DATA"]), unit="tokens/s"),
    ]
    return [row]
