"""Rows 1 and 2: one adapted linear, forward and backward, against PEFT's LoRA and the published kind of loop."""

from __future__ import annotations

import copy

import torch
from measure import Figure, Row, kept_bytes, peak_bytes, time_ratio, times
from peers import LoopedMoLora, lora_linear
from setting import EXPERTS, RANK, Setting
from torch import nn

from llamafactory_ext.molora import MoLoraLinear
from llamafactory_ext.molora.kernel import triton_problem


def run(setting: Setting) -> list[Row]:
    """Rows 1 and 2."""
    return [_measure(d_in, d_out, setting) for d_in, d_out in setting.shape.alone]


def _measure(d_in: int, d_out: int, setting: Setting) -> Row:
    device, tokens = setting.device, setting.shape.alone_tokens
    torch.manual_seed(0)
    base = nn.Linear(d_in, d_out, bias=False, dtype=torch.bfloat16, device=device).requires_grad_(False)
    settings = {"num_experts": EXPERTS, "r": RANK, "alpha": 2.0, "init_weights": False}
    triton = "MOLoRA, Triton kernels"
    layers = {
        "MOLoRA": MoLoraLinear(base, "default", **settings),
        "PEFT LoRA r=32": lora_linear(base, EXPERTS * RANK),
        "per-expert loop": LoopedMoLora(base, EXPERTS, RANK),
    }
    if triton_problem(gpu=device.type == "cuda") is None:
        layers[triton] = copy.deepcopy(layers["MOLoRA"])
        layers[triton].kernel = "triton"
    x = torch.randn(tokens, d_in, dtype=torch.bfloat16, device=device).requires_grad_()
    grad = torch.randn(tokens, d_out, dtype=torch.bfloat16, device=device)

    def step(layer: nn.Module) -> None:
        x.grad = None
        layer.zero_grad(set_to_none=True)
        layer(x).backward(grad)

    calls = {name: lambda layer=layer: step(layer) for name, layer in layers.items()}
    found = times(calls, rounds=2 * setting.rounds, device=device)  # the two are close
    memory = {name: peak_bytes(call, device) for name, call in calls.items()}
    kept = kept_bytes(lambda: layers["MOLoRA"](x), {"x": x, **dict(layers["MOLoRA"].named_parameters())})
    row = Row("1, 2", f"MOLoRA layer {d_in} x {d_out}, forward + backward, N=4 r=8, bf16", {"tokens": tokens})
    row.figures = [
        time_ratio("time / PEFT LoRA r=32", "MOLoRA", "PEFT LoRA r=32", found, 0.92 if x.is_cuda else 1.0),
        Figure("peak / PEFT LoRA r=32", memory["MOLoRA"] / memory["PEFT LoRA r=32"], 0.55),
        time_ratio("time / per-expert loop", "MOLoRA", "per-expert loop", found),
        Figure("peak / per-expert loop", memory["MOLoRA"] / memory["per-expert loop"]),
        Figure("kept per token beyond x", kept / tokens, 112, unit="bytes"),
    ]
    if triton in layers:
        row.figures.append(time_ratio(f"{triton}: time / PEFT LoRA r=32", triton, "PEFT LoRA r=32", found, 0.80))
    return row
