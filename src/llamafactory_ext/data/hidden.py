"""Numbers hidden in whole numbers that somebody else moves around: above the bits of token ids and labels.

What moves, cuts, packs and pads the carriers moves the hidden numbers with them. Marks of examples ride on token ids
(`marks.py`), weights of tokens on labels (`training/token_weights.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import torch
from torch import Tensor

SHIFT: Final = 1 << 32  # above every vocabulary; carriers are 64-bit integers in between


def hide(carriers: Iterable[int], codes: Iterable[int], empty: int | None = None) -> list[int]:
    """Return carriers with a code each; `empty` is a carrier that takes none."""
    return [
        carrier if carrier == empty else carrier + code * SHIFT for carrier, code in zip(carriers, codes, strict=True)
    ]


def reveal(carriers: Sequence[int], empty: int | None = None) -> tuple[list[int], list[int]]:
    """Return the plain carriers, and the codes in them; 0 where there is none."""
    plain = [carrier if carrier == empty else carrier % SHIFT for carrier in carriers]
    return plain, [0 if carrier == empty else carrier // SHIFT for carrier in carriers]


def reveal_batch(carriers_BT: Tensor, empty: int) -> tuple[Tensor, Tensor]:
    """Do so for a padded batch."""
    full = carriers_BT != empty
    return torch.where(full, carriers_BT % SHIFT, empty), torch.where(full, carriers_BT // SHIFT, 0)
