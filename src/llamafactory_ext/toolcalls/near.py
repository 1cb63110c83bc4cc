"""Words that are written like others but for a slip: a letter too many, too few, wrong or swapped, or another case."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

_SHORT, _MOST = 5, 2  # words of no more letters may have one slip, others two


@lru_cache(maxsize=8192)
def near_word(word: str, known: tuple[str, ...]) -> str | None:
    """Return the known word that is the nearest, the word itself included; None where it is like none."""
    if word in known:
        return word
    folded = word.casefold()
    letters = _letters(folded)
    nearest, fewest = None, _MOST + 1
    for one in known:
        most = 1 if len(one) <= _SHORT else _MOST
        if abs(len(one) - len(word)) > most or (letters ^ _letters(one.casefold())).bit_count() > 2 * most:
            continue
        slips = _slips(folded, one.casefold(), most)
        if slips <= most and slips < fewest:
            nearest, fewest = one, slips
    return nearest


@lru_cache(maxsize=256)
def _letters(word: str) -> int:
    """Return the letters of a word as bits; more than one letter may share a bit."""
    found = 0
    for letter in word:
        found |= 1 << (ord(letter) & 63)
    return found


def _slips(one: str, other: str, most: int) -> int:
    """Return the number of slips between two words, `most` + 1 where there are more."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for place, letter in enumerate(one, 1):
        last, before, row = before, row, [place]
        for at, wanted in enumerate(other, 1):
            cost = min(before[at] + 1, row[at - 1] + 1, before[at - 1] + (letter != wanted))
            if last and at > 1 and letter == other[at - 2] and one[place - 2] == wanted:
                cost = min(cost, last[at - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return row[-1]


def is_slip(word: str, known: Iterable[str]) -> bool:
    """Tell whether a word is like a known one, but not the same."""
    found = near_word(word, tuple(known))
    return found is not None and found != word
