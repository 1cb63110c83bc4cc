"""Tables of many cases: a seeded sample of them in every run of the tests, all of them with ALL_TESTS=1."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
S = TypeVar("S")
ALL = os.environ.get("ALL_TESTS") == "1"


def sample(cases: Sequence[T], count: int, *, seed: int = 0) -> list[T]:
    """Return `count` of the cases, always the same ones, in their order; with ALL_TESTS=1 all of them."""
    if ALL:
        return list(cases)
    chosen = random.Random(seed).sample(range(len(cases)), min(count, len(cases)))
    return [cases[i] for i in sorted(chosen)]


def pairs(rows: Sequence[S], columns: Sequence[T], each: int = 1) -> list[tuple[S, T]]:
    """Return `each` columns of every row, in turn, so that every column is there; with ALL_TESTS=1 the whole table."""
    step = 1 if ALL else -(-len(columns) // each)
    starts = [0] if ALL else range(step)
    return [(row, column) for i, row in enumerate(rows) for column in columns[starts[i % len(starts)] :: step]]
