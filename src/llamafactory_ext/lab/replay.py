"""General data for replay: the base's own wordings, but narrower than the tests.

Four of six kinds of sums, a part of the programs, half of the towns, and instructions on words and lists alone. So
what a method keeps of the rest is not what it was just shown.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from .abilities import code, math
from .example import Example, Generator
from .facts import TOWNS, facts
from .instructions import words_and_lists

REPLAYED_TOWNS = TOWNS[: len(TOWNS) // 2]
_SUMS = ("add", "sub", "mul", "addsub")
_PROGRAMS = ("print(max", "print(len", "Write code that sets", "Write code that prints", "Write code that makes")


def town_of(example: Example) -> str:
    """Return the town that a question of the ability "facts" is about."""
    return example.key.split()[0]


def _only(generate: Generator, keep: Callable[[Example], bool]) -> Generator:
    def drawn(rng: Random) -> Example:
        while not keep(example := generate(rng)):
            pass
        return example

    return drawn


REPLAY: dict[str, Generator] = {
    "math": _only(math, lambda example: example.key.split()[0] in _SUMS),
    "code": _only(code, lambda example: any(part in example.prompt for part in _PROGRAMS)),
    "facts": _only(facts, lambda example: town_of(example) in REPLAYED_TOWNS),
    "instructions": words_and_lists,
}
"""Generators by ability."""

UNREPLAYED_FACTS: Generator = _only(facts, lambda example: town_of(example) not in REPLAYED_TOWNS)
"""Questions about the other half of the towns."""
