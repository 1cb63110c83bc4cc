"""Seeded draws without replacement, with eight bytes of memory for each record drawn."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def draw(total: int, limit: int, seed: int | str) -> array[int]:
    """Return the numbers, in order, of `limit` of `total` records (reservoir sampling).

    Of all where there are fewer.
    """
    rng = random.Random(seed)
    drawn = array("Q", range(min(total, limit)))
    for number in range(limit, total):
        slot = rng.randrange(number + 1)
        if slot < limit:
            drawn[slot] = number
    return array("Q", sorted(drawn))


def pick(items: Iterable[T], numbers: Iterable[int]) -> Iterator[T]:
    """Return the items with these numbers; all items are run through, to the last."""
    wanted = iter(numbers)
    due = next(wanted, None)
    for number, item in enumerate(items):
        if number == due:
            yield item
            due = next(wanted, None)
