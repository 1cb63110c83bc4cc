"""Row 10: all phases one after the other, optimisers included; and the price of the exact router window."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

import torch
from measure import Call, Figure, Row, peak_bytes, time_ratio, times, times_of_runs
from setting import Batch, Setting, chosen, draw_batch, packed_batch, unpadded
from steps import Citi, Naive
from torch import Tensor
from uco import adamw

EPOCHS = {"rp": 1, "mi": 2, "uco": 1}
BATCHES, WINDOW = 2, 4
# Tool dialogues (API-Bank: median 310 tokens) among short questions (GSM8K: 120) vary by about this much.
LENGTH_DEVIATION, MEDIAN_SHARE = 0.7, 1 / 3


def run(setting: Setting) -> list[Row]:
    """Row 10."""
    base = setting.model()
    adapted, tuned = chosen(base)
    citi = Citi(base, adapted, tuned, fresh=True)
    naive = Naive(base, adapted, tuned, like=citi)
    equal = [setting.batch(seed) for seed in range(BATCHES)]
    padded = _padded(setting)
    packed = _packed(setting, [example for batch in padded for example in unpadded(batch)])
    padded = [batch.to(setting.device) for batch in padded]
    packed = [batch.to(setting.device) for batch in packed]
    pairs: list[dict[str, list[Call]]] = [
        {"ours": run_of(citi, equal), "naive": run_of(naive, equal)},
        {"ours, packed": run_of(citi, packed), "naive, padded": run_of(naive, padded)},
    ]
    found: dict[str, list[float]] = {}
    for pair in pairs:
        found |= times_of_runs(pair, rounds=max(1, setting.rounds * 3 // 8), device=setting.device)
    memory = {name: peak_bytes(partial(_walk, steps), setting.device) for name, steps in pairs[0].items()}
    row = Row("10", "RP + 2 x MI + UCO with optimisers / naive implementation")
    tokens = {"padded": sum(b.labels.numel() for b in padded), "packed": sum(b.labels.numel() for b in packed)}
    row.settings = setting.describe(base, memory, adapted=len(adapted), tuned=len(tuned), batches=BATCHES) | tokens
    row.figures = [
        time_ratio("time / naive", "ours", "naive", found, 0.70),
        time_ratio("ours packed: time / naive padded", "ours, packed", "naive, padded", found, 0.60),
        Figure("peak / naive", memory["ours"] / memory["naive"]),
    ]
    row.figures.append(_window(setting, citi))
    return [row]


def run_of(side: Citi | Naive, batches: Sequence[Batch]) -> list[Call]:
    """The steps of all phases in their order, from fresh experts on; a phase begins in its first step."""
    optimiser: torch.optim.Optimizer | None = None

    def step(phase: str, batch: Batch, begins: bool) -> None:
        nonlocal optimiser
        if begins:
            if phase == next(iter(EPOCHS)):
                side.reset()
            optimiser = adamw(side.enter(phase))
        assert optimiser is not None
        forms_own = phase == "rp" and isinstance(side, Citi)
        side.router_step(batch) if forms_own else side.step(batch)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return [
        partial(step, phase, batch, begins=i == 0)
        for phase, epochs in EPOCHS.items()
        for i, batch in enumerate([*batches] * epochs)
    ]


def _walk(steps: Sequence[Call]) -> None:
    for step in steps:
        step()


def _padded(setting: Setting) -> list[Batch]:
    """Batches of examples of log-normal lengths in random order, each padded to its longest."""
    shape, draw = setting.shape, random.Random(0)
    size = 2 * shape.rows
    found = []
    for seed in range(2 * BATCHES):
        median = shape.tokens * MEDIAN_SHARE
        lengths = [round(median * draw.lognormvariate(0, LENGTH_DEVIATION)) for _ in range(size)]
        found.append(draw_batch([min(shape.tokens, max(4, n)) for n in lengths], shape.vocabulary, seed))
    return found


def _packed(setting: Setting, examples: list[Tensor]) -> list[Batch]:
    """The same examples, the longest first into the first row that has room."""
    shape = setting.shape
    rows: list[list[Tensor]] = []
    for example in sorted(examples, key=lambda example: -example.shape[1]):
        for row in rows:
            if sum(part.shape[1] for part in row) + example.shape[1] <= shape.tokens:
                row.append(example)
                break
        else:
            rows.append([example])
    parts = [rows[i : i + shape.rows] for i in range(0, len(rows), shape.rows)]
    return [packed_batch(part, shape.tokens, shape.dtype) for part in parts]


def _window(setting: Setting, citi: Citi) -> Figure:
    """MI under gradient accumulation: router statistics of the whole step (one more forward pass) or not."""
    batches = [setting.batch(seed) for seed in range(WINDOW)]
    citi.enter("mi")

    def micro() -> None:
        citi.model.zero_grad(set_to_none=True)
        for batch in batches:
            citi.step(batch, parts=WINDOW)

    def exact() -> None:
        citi.model.zero_grad(set_to_none=True)
        totals = citi.sums(batches[0])
        for batch in batches[1:]:
            totals = totals + citi.sums(batch)
        for batch in batches:
            citi.step(batch, totals=totals, parts=WINDOW)

    found = times({"step": exact, "micro": micro}, rounds=max(1, setting.rounds // 3), device=setting.device)
    return time_ratio(f"citi_router_window over {WINDOW} micro-batches: time of step / micro", "step", "micro", found)
