"""What a run trains on: records, optimizer steps and tokens, beside those of the chain that it is compared with.

Tokens are counted on a part of the records, without what the template writes around them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .build import Steps
from .preview import prompt
from .settings import ONE, Counts, Settings

SAMPLE: Final = 200
_MADE: Final = ("digest", "_examples", "_shortener", "_found")


@dataclass(frozen=True)
class Budget:
    """What one pass over the data takes at each step.

    Attributes:
        rows: training examples, the same at every step.
        tokens: of all examples, by step.
    """

    rows: int
    tokens: tuple[float, ...]

    def total(self, parts: Sequence[float]) -> float:
        """Return the tokens of a run that passes over the data so many times at each step."""
        return math.fsum(passes * tokens for passes, tokens in zip(parts, self.tokens, strict=True))


def budget_of(sets: Mapping[str, Steps], count: Callable[[str], int], settings: Settings | None = None) -> Budget:
    """Return the budget of data sets that are trained on.

    Args:
        sets: by name.
        count: tokens of a text.
        settings: in place of their own.
    """
    rows, tokens = 0, None
    for made in sets.values():
        own = with_settings(made, settings) if settings is not None else made
        found, by_step = _tokens(own, count)
        rows += found
        tokens = by_step if tokens is None else [one + other for one, other in zip(tokens, by_step, strict=True)]
    return Budget(rows, tuple(tokens or ()))


def with_settings(steps: Steps, settings: Settings) -> Steps:
    """Return the same records under other settings."""
    other = copy.copy(steps)
    for name in _MADE:
        other.__dict__.pop(name, None)
    other.settings, other.counts = settings, Counts()
    return other


def _tokens(steps: Steps, count: Callable[[str], int]) -> tuple[int, list[float]]:
    total = len(steps.records)
    if not total:
        return 0, [0.0] * len(steps.settings.shares)
    chosen = [place * total // min(SAMPLE, total) for place in range(min(SAMPLE, total))]
    shown = steps.counts.shortened
    steps.counts.shortened = {}  # what is counted here is told when it is built
    try:
        by_step = [
            math.fsum(_length(steps, index, step, count) for index in chosen) * total / len(chosen)
            for step in range(len(steps.settings.shares))
        ]
    finally:
        steps.counts.shortened = shown
    if steps.settings.rows == ONE:
        return total, by_step
    apart = [
        count(f"{prompt(steps, built)}\n{steps.apart_target(index)}")
        for index, built in ((index, steps.apart(index)) for index in chosen)
        if built is not None
    ]
    rows = sum(bool(record.rationale) for record in steps.records)
    return total + rows, [tokens + math.fsum(apart) * total / len(chosen) for tokens in by_step]


def _length(steps: Steps, index: int, step: int, count: Callable[[str], int]) -> int:
    record = steps.records[index]
    return count(f"{prompt(steps, steps.at(index, step))}\n{steps.target(record) or record.answer}")


def factor_of(own: Budget, chain: Budget, parts: Sequence[float], chain_parts: Sequence[float], equal: str) -> float:
    """Return by what the epochs of a rival are multiplied, so that it takes what the chain takes.

    Args:
        own: of the rival.
        chain: of the chain.
        parts: epochs of each step of the rival, before.
        chain_parts: of the chain.
        equal: "steps" or "tokens".
    """
    if equal == "tokens":
        return chain.total(chain_parts) / max(own.total(parts), 1.0)
    return chain.rows / max(own.rows, 1)


def told(budget: Budget, parts: Sequence[float], batch: int) -> str:
    """Return what a run takes in words.

    Args:
        budget: of its data.
        parts: epochs of each step.
        batch: examples of an optimizer step.
    """
    steps = sum(math.ceil(math.ceil(budget.rows / batch) * passes - 1e-9) for passes in parts)
    epochs = math.fsum(parts)
    tokens = f"about {budget.total(parts):,.0f} tokens"
    return f"{epochs:.4g} epochs of {budget.rows:,} examples, {steps:,} optimizer steps, {tokens}"


def batch_of(training_args: Any) -> int:
    """Return the examples of an optimizer step, over all processes."""
    args = training_args
    return int(args.per_device_train_batch_size * args.gradient_accumulation_steps * max(1, args.world_size))
