"""Rows 7 and 8: a step of Unimportant Components Optimization against full fine-tuning, and what it keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from measure import Figure, Row, peak_bytes, time_ratio, times
from setting import Batch, Setting, chosen, twin
from steps import Citi, clean, full_loss, upstream_checkpointing
from torch import nn

from llamafactory_ext.training.recompute import recompute_from_lowest_trained


def adamw(parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser of both sides, in its fastest form and transformers' default; it hardly moves the weights."""
    return torch.optim.AdamW(parameters, lr=1e-7, fused=True)


def state_bytes(optimiser: torch.optim.Optimizer) -> int:
    """Bytes of its moments."""
    return sum(
        value.numel() * value.itemsize
        for state in optimiser.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor) and value.numel() > 1
    )


def against_full_tuning(setting: Setting) -> list[Row]:
    """Row 7."""
    base, batch = setting.model(), setting.batch()
    adapted, tuned = chosen(base)
    citi = Citi(base, adapted, tuned, fresh=False)
    moving = citi.enter("uco")
    full = twin(base).requires_grad_(True)
    ours, theirs = adamw(moving), adamw(list(full.parameters()))

    def tune_all() -> None:
        full_loss(full, batch).backward()
        theirs.step()

    def tune_ours() -> None:
        citi.step(batch)
        ours.step()

    calls = {"UCO": _with_optimiser(ours, tune_ours), "full": _with_optimiser(theirs, tune_all)}
    found = times(calls, rounds=setting.rounds, device=setting.device)
    memory = {name: peak_bytes(call, setting.device) for name, call in calls.items()}
    share = sum(p.numel() for p in moving) / sum(p.numel() for p in full.parameters())
    row = Row("7", "UCO step with optimiser / full fine-tuning step with optimiser, AdamW")
    row.settings = setting.describe(base, memory, tuned=len(tuned), parameter_share=share)
    row.figures = [
        time_ratio("time / full fine-tuning", "UCO", "full", found, 0.50),
        Figure("peak / full fine-tuning", memory["UCO"] / memory["full"]),
        Figure("optimiser state / full fine-tuning", state_bytes(ours) / state_bytes(theirs), share + 0.01),
    ]
    return [row]


def _with_optimiser(optimiser: torch.optim.Optimizer, step: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        step()
        optimiser.zero_grad(set_to_none=True)

    return call


def checkpointing(setting: Setting) -> list[Row]:
    """Row 8."""
    setting = setting.long()
    base, batch = setting.model(), setting.batch()
    adapted, tuned = chosen(base)
    sides = {name: Citi(base, adapted, tuned, fresh=False) for name in ("from the lowest trained on", "upstream")}
    for name, citi in sides.items():
        citi.enter("uco")
        upstream_checkpointing(citi.model.get_base_model())
        if name != "upstream":
            recompute_from_lowest_trained(citi.model)
    calls = {name: _step(citi, batch) for name, citi in sides.items()}
    found = times(calls, rounds=setting.rounds, device=setting.device)
    memory = {name: peak_bytes(call, setting.device) for name, call in calls.items()}
    ours, theirs = sides
    row = Row("8", "UCO step, recomputing from the lowest trained layer to the last but one / upstream's policy")
    trained = sorted({int(name.split(".")[2]) for name in tuned})
    row.settings = setting.describe(base, memory, tuned=len(tuned), layers_with_tuned=trained)
    row.figures = [
        Figure("peak / upstream", memory[ours] / memory[theirs], 0.45),
        time_ratio("time / upstream", ours, theirs, found, 1.05),
    ]
    return [row]


def _step(citi: Citi, batch: Batch) -> Callable[[], None]:
    return clean(citi.model, citi.step, batch)
