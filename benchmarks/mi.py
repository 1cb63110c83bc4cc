"""Rows 3 and 9: a step of MOLoRA Improvement against what no adapter could avoid, and without the router loss."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
from measure import Figure, Row, peak_bytes, time_ratio, times
from setting import Batch, Setting, chosen, twin
from steps import Citi, Naive, chunked_loss, clean, lora_model, worst
from torch import Tensor, nn


def floor_model(base: nn.Module, lowest: str) -> nn.Module:
    """The frozen base whose gradient begins at the output of its lowest adapted linear."""
    model: nn.Module = twin(base)

    def begin(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return output.requires_grad_(True)

    model.get_submodule(lowest).register_forward_hook(begin)
    return model


def step_on(model: nn.Module, batch: Batch, head: nn.Linear) -> Callable[[], None]:
    """Language-model loss and backward."""
    return clean(model, lambda: chunked_loss(model, batch, head).backward())


def against_the_floor(setting: Setting) -> list[Row]:
    """Row 3."""
    base, batch = setting.model(), setting.batch()
    adapted, _ = chosen(base)
    citi = Citi(base, adapted, fresh=False)
    citi.enter("mi")
    naive = Naive(base, adapted, like=citi)
    naive.enter("mi")
    floor, lora = floor_model(base, adapted[0]), lora_model(base, adapted)
    calls = {
        "floor": step_on(floor, batch, floor.lm_head),
        "MOLoRA": clean(citi.model, citi.step, batch),
        "PEFT LoRA r=32": step_on(lora, batch, lora.lm_head),
        "per-expert loop": clean(naive.model, naive.step_with_chunked_loss, batch, naive.model.lm_head),
    }
    found = times(calls, rounds=setting.rounds, device=setting.device)
    memory = {name: peak_bytes(call, setting.device) for name, call in calls.items()}
    row = Row("3", "MI step, router loss included / frozen forward + dX down to the lowest adapted linear")
    row.settings = setting.describe(base, memory, adapted=len(adapted), lowest=adapted[0])
    row.figures = [
        time_ratio("time / floor", "MOLoRA", "floor", found, 1.03),
        time_ratio("PEFT LoRA r=32: time / floor", "PEFT LoRA r=32", "floor", found),
        time_ratio("per-expert loop: time / floor", "per-expert loop", "floor", found),
        time_ratio("time / PEFT LoRA r=32", "MOLoRA", "PEFT LoRA r=32", found),
        Figure("peak / floor", memory["MOLoRA"] / memory["floor"]),
        Figure("PEFT LoRA r=32: peak / floor", memory["PEFT LoRA r=32"] / memory["floor"]),
        Figure("per-expert loop: peak / floor", memory["per-expert loop"] / memory["floor"]),
    ]
    for name in ("MOLoRA", "PEFT LoRA r=32"):
        rate = batch.labels.numel() / statistics.median(found[name])
        row.figures.append(Figure(f"{name}: tokens per second", rate, unit="tokens/s"))
    return [row]


def router_loss_in_backward(setting: Setting) -> list[Row]:
    """Row 9."""
    setting = setting.long()
    base, batch = setting.model(), setting.batch()
    adapted, _ = chosen(base)
    citi = Citi(base, adapted, fresh=False)
    citi.enter("mi")
    calls = {
        "without": clean(citi.model, citi.step_without_router_loss, batch),
        "with": clean(citi.model, citi.step, batch),
        "alone": router_loss_alone(citi, batch),
    }
    found = times(calls, rounds=2 * setting.rounds, device=setting.device)  # half a per cent wants many
    memory = {name: peak_bytes(calls[name], setting.device) for name in ("with", "without")}
    row = Row("9", "router loss in closed form inside the adapters' backward: MI step with / without it")
    row.settings = setting.describe(base, memory, adapted=len(adapted))
    row.figures = [
        time_ratio("time / step without", "with", "without", found, 1.005),
        time_ratio("time of the router loss alone / step without", "alone", "without", found, 0.005),
        Figure("peak / step without", memory["with"] / memory["without"]),
    ]
    row.figures += [
        Figure(f"gradients against autograd, checkpointing {mode}", error, 1e-12, unit="relative error")
        for mode, error in gradient_errors().items()
    ]
    return [row]


def router_loss_alone(citi: Citi, batch: Batch) -> Callable[[], None]:
    """All that the router loss adds to a step, on gates of the step's size: sums, value, gradient of every router."""
    gates_ET = torch.rand(citi.gates, batch.labels.numel(), device=batch.labels.device).softmax(dim=0)
    moves_ET, loss = torch.zeros_like(gates_ET), gates_ET.new_zeros((), requires_grad=True)

    def call() -> None:
        citi.begin(batch)
        for name in citi.layers:
            citi.router.observe(name, gates_ET)
        citi.router.attach(loss * 1, citi.router.totals(), gates=citi.gates).backward()
        for name in citi.layers:
            moves = citi.router.gradient(name, gates_ET)
            assert moves is not None
            moves_ET.add_(moves)

    return call


def gradient_errors() -> dict[str, float]:
    """Routers, A and B in float64: ours under each kind of checkpointing against the loop under plain autograd."""
    base, batch = Setting.exact()
    adapted, _ = chosen(base)
    citi = Citi(base, adapted, fresh=False)
    citi.enter("mi")
    naive = Naive(base, adapted, like=citi)
    naive.enter("mi")
    naive.step(batch)
    expected = [gradient for loop in naive.loops.values() for gradient in loop.gradients()]
    weights = [weight for layer in citi.layers.values() for weight in layer.weights("default")]
    errors = {}
    for mode, kind in (("off", None), ("reentrant", True), ("non-reentrant", False)):
        if kind is not None:
            citi.model.enable_input_require_grads()
            citi.model.gradient_checkpointing_enable({"use_reentrant": kind})
        clean(citi.model, citi.step, batch)()
        errors[mode] = worst([weight.grad for weight in weights], expected)
    return errors
