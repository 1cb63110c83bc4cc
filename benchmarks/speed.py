"""Rows speed and importance: what a user waits for, training against plain LoRA and the importance of a data set."""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable

import torch
from measure import Figure, Row, peak_bytes, time_ratio, times
from mi import step_on
from peers import lora_linear
from setting import Setting, chosen, twin
from steps import Citi, clean
from torch import nn

from llamafactory_ext.citi.importance import linear_components, score_components
from llamafactory_ext.citi.scoring import scoring_mode

LORA_RANK = 16  # on all linears: the paper's baseline, appendix A.3
EXAMPLES, PAPER_EXAMPLES = 300, 3000
_SDPA, _FLASH = "sdpa", "flash_attention_2"


def lora_everywhere(base: nn.Module) -> nn.Module:
    """PEFT's LoRA on every linear of the decoder."""
    model: nn.Module = twin(base)
    for name in linear_components(model):
        model.set_submodule(name, lora_linear(model.get_submodule(name), LORA_RANK))
    return model


def attentions(setting: Setting) -> dict[str, str]:
    """Return the kinds of attention that can run, and for flash attention why not."""
    if setting.device.type != "cuda":
        return {_SDPA: "", _FLASH: "not on a CPU"}
    if importlib.util.find_spec("flash_attn") is None:
        return {_SDPA: "", _FLASH: "flash_attn is not installed"}
    if setting.shape.dtype not in (torch.bfloat16, torch.float16):
        return {_SDPA: "", _FLASH: "needs 16 bits"}
    return {_SDPA: "", _FLASH: ""}


def against_lora(setting: Setting) -> list[Row]:
    """Row speed."""
    base, batch = setting.model(), setting.batch()
    adapted, _ = chosen(base)
    citi = Citi(base, adapted, fresh=False)
    citi.enter("mi")
    lora = lora_everywhere(base)
    steps = {
        "MOLoRA": (citi.model, clean(citi.model, citi.step, batch)),
        "LoRA r=16": (lora, step_on(lora, batch, lora.lm_head)),
    }
    possible = attentions(setting)
    calls: dict[str, Callable[[], None]] = {}
    for attention, problem in possible.items():
        if not problem:
            for name, (model, step) in steps.items():
                calls[f"{name}, {attention}"] = _with_attention(model, attention, step)
    found = times(calls, rounds=setting.rounds, device=setting.device)
    memory = {name: peak_bytes(call, setting.device) for name, call in calls.items()}
    row = Row("speed", "a step of MI (20 % of the linears, router loss) / of LoRA r=16 on all linears")
    row.settings = setting.describe(base, memory, adapted=len(adapted))
    row.settings["left_out"] = {name: problem for name, problem in possible.items() if problem}
    for attention in (name for name, problem in possible.items() if not problem):
        ours, theirs = (f"{name}, {attention}" for name in steps)
        row.figures.append(time_ratio(f"time / LoRA, {attention}", ours, theirs, found))
        row.figures.append(Figure(f"peak / LoRA, {attention}", memory[ours] / memory[theirs]))
    if not possible[_FLASH]:
        for name in steps:
            row.figures.append(
                time_ratio(f"{name}: time, flash / sdpa", f"{name}, {_FLASH}", f"{name}, {_SDPA}", found)
            )
    for name, rounds in found.items():
        rate = batch.labels.numel() / statistics.median(rounds)
        row.figures.append(Figure(f"{name}: tokens per second", rate, unit="tokens/s"))
    return [row]


def _with_attention(model: nn.Module, attention: str, step: Callable[[], None]) -> Callable[[], None]:
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model

    def call() -> None:
        whole.set_attn_implementation(attention)  # type: ignore[operator]
        step()

    return call


def importance(setting: Setting) -> list[Row]:
    """Row importance."""
    base = setting.model()
    base.gradient_checkpointing_enable({"use_reentrant": False})
    rows = setting.shape.rows
    count = EXAMPLES if setting.device.type == "cuda" else 2 * rows
    batches = [setting.batch(seed).as_mapping() for seed in range(-(-count // rows))]
    measured = len(batches) * rows

    def score(some: int) -> float:
        if setting.device.type == "cuda":
            torch.cuda.synchronize(setting.device)
        start = time.perf_counter()
        with scoring_mode(base, float32=False, checkpointing=True):
            score_components(base, batches[:some])
        if setting.device.type == "cuda":
            torch.cuda.synchronize(setting.device)
        return time.perf_counter() - start

    score(1)
    seconds = score(len(batches))
    row = Row(
        "importance", f"importance of one task by eq. 4, from {measured} examples of {setting.shape.tokens} tokens"
    )
    row.settings = setting.describe(base, {}, examples=measured)
    row.figures = [
        Figure("examples per second", measured / seconds, unit="examples/s"),
        Figure(f"{PAPER_EXAMPLES:,} examples, from these", seconds * PAPER_EXAMPLES / measured, unit="s"),
    ]
    return [row]
