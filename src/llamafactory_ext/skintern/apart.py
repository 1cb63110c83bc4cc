"""Keep records apart from test items: what a record asks must be asked by none of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..data.entries import DataEntry
from ..errors import DataError
from .compress import words_of
from .records import Record

_PLACES: Final = 3


def same_questions(records: Sequence[Record], tested: Sequence[Record]) -> list[tuple[str, str]]:
    """Return the places of records and test items that ask the same: the same words, in any order and case."""
    held = {bag(record.question): record.place for record in reversed(tested)}
    return [(record.place, held[key]) for record in records if (key := bag(record.question)) in held]


def bag(question: str) -> tuple[str, ...]:
    """Return the words of a question, sorted: equal for its duplicates, and for its options in another order."""
    return tuple(sorted(words_of(question)))


def shown(same: Sequence[tuple[str, str]]) -> str:
    """Return the first pairs of places in words."""
    return ", ".join(f"{place} (test item: {other})" for place, other in same[:_PLACES])


def check_apart(entry: DataEntry, records: Sequence[Record], test: DataEntry, tested: Sequence[Record]) -> None:
    """Make sure that no record asks what a test item asks.

    Raises:
        DataError: some do, with their number and places.
    """
    if same := same_questions(records, tested):
        raise DataError(
            f"{entry.path}: {len(same):,} of {len(records):,} records ask what an item of {test.path} asks: "
            f"{shown(same)}. Remove them from the file, or correct --test."
        )
