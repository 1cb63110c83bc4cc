"""Tables of many cases: a seeded sample of them in every run of the tests, all of them with ALL_TESTS=1."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
ALL = os.environ.get("ALL_TESTS") == "1"


def sample(cases: Sequence[T], count: int, *, seed: int = 0) -> list[T]:
    """Return `count` of the cases, always the same ones, in their order; with ALL_TESTS=1 all of them."""
    if ALL:
        return list(cases)
    chosen = random.Random(seed).sample(range(len(cases)), min(count, len(cases)))
    return [cases[i] for i in sorted(chosen)]
