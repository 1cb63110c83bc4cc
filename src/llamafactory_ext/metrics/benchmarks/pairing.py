"""Pair wanted things with found ones, each at most once, as many as can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Wanted = TypeVar("Wanted")
Found = TypeVar("Found")


def can_pair(wanted: Sequence[Wanted], found: Sequence[Found], fits: Callable[[Wanted, Found], bool]) -> bool:
    """Return whether each wanted thing gets a found one of its own that fits (augmenting paths, Kuhn 1955)."""
    choices = [[place for place, one in enumerate(found) if fits(want, one)] for want in wanted]
    owner: dict[int, int] = {}

    def give(want: int, tried: set[int]) -> bool:
        for place in choices[want]:
            if place in tried:
                continue
            tried.add(place)
            if place not in owner or give(owner[place], tried):
                owner[place] = want
                return True
        return False

    return all(give(want, set()) for want in range(len(wanted)))
