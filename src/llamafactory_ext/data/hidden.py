"""Numbers hidden in whole numbers that somebody else moves around: above the bits of token ids and labels.

What moves, cuts, packs and pads the carriers moves the hidden numbers with them (`training/channels.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

SHIFT: Final = 1 << 32  # above every vocabulary; carriers are 64-bit integers in between


def hide(carriers: Iterable[int], number: int) -> list[int]:
    """Return carriers, none below zero, that each carry a number."""
    return [carrier + number * SHIFT for carrier in carriers]


def reveal(carriers: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the plain carriers, and the numbers in them; 0 where there is none."""
    return [carrier % SHIFT for carrier in carriers], [carrier // SHIFT for carrier in carriers]
