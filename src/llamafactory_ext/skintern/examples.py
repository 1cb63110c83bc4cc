"""Which solved examples stand in a record's prompt at each step (SKIntern, arXiv:2409.13183, section 3.2).

The published code draws one set of examples for a thousand records; `similar` is ours: per record, by tf-idf cosine.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from .apart import bag
from .records import Record
from .similarity import most_similar

VERSION: Final = 1  # part of the hash of built data
CHOICES: Final = ("similar", "random")


class Examples:
    """The pool of examples of each record."""

    def __init__(self, records: Sequence[Record], choice: str, most: int, seed: int) -> None:
        """Choose the pools.

        Args:
            records: of the training file; examples come from records of the same task.
            choice: "similar": the `most` records most like this one; "random": any.
            most: K, of the first step.
            seed: of the draws.
        """
        self.records, self.seed = records, seed
        self._pool: dict[int, list[int]] = {}
        if most == 0:
            return
        for indices in _by(range(len(records)), lambda index: records[index].task).values():
            same = _equal([records[index] for index in indices])
            if choice == "similar":
                found = most_similar([records[index].question for index in indices], most, same)
            else:
                found = [
                    self._any(row, len(indices), most, same, records[indices[row]]) for row in range(len(indices))
                ]
            for row, chosen in enumerate(found):
                self._pool[indices[row]] = [indices[other] for other in chosen]

    def of(self, index: int, step: int, count: int) -> list[Record]:
        """Return the examples of a record at a step: `count` of its pool, drawn by seed, id and step.

        They stand in the order of the pool, the most similar first.
        """
        pool = self._pool.get(index, [])
        if count >= len(pool):
            return [self.records[other] for other in pool]
        drawn = sorted(_random(self.seed, self.records[index].id, step).sample(range(len(pool)), count))
        return [self.records[pool[place]] for place in drawn]

    def _any(self, row: int, total: int, most: int, same: dict[int, set[int]], record: Record) -> list[int]:
        others = [other for other in range(total) if other != row and other not in same.get(row, ())]
        return _random(self.seed, record.id, "pool").sample(others, min(most, len(others)))


def _random(*parts: object) -> random.Random:
    return random.Random(":".join(map(str, parts)))


def _by(indices: Sequence[int], key: Callable[[int], object]) -> dict[object, list[int]]:
    groups: dict[object, list[int]] = defaultdict(list)
    for index in indices:
        groups[key(index)].append(index)
    return groups


def _equal(records: Sequence[Record]) -> dict[int, set[int]]:
    """Return for each record those with the same bag of words: its duplicates, and its options in another order."""
    bags = _by(range(len(records)), lambda index: bag(records[index].question))
    return {index: {*group} - {index} for group in bags.values() if len(group) > 1 for index in group}
