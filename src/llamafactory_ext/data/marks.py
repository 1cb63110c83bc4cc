"""Marks of single tokens: which example of its row a token belongs to, and whether that example is tool data.

What it does: turns an example's mark into token codes, carries them through any processor that only moves token ids
around (by hiding them in the ids), and pads them. What it does not do: read data files (`marks_spec.py`) or know
LLaMA-Factory (`upstream/pipeline/marks.py`).

A token's code is 0 for padding and 2 k + 1 + is_tool for the row's k-th example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..methods import MARKS_COLUMN, TASK_COLUMN
from . import hidden

__all__ = ["MARKS_COLUMN", "TASK_COLUMN", "TokenMarks", "code", "hide", "is_tool", "pad_codes", "reveal"]


@dataclass(frozen=True)
class TokenMarks:
    """What the router loss needs to know about each token; all (B, T)."""

    is_tool: Tensor
    mask: Tensor
    sample: Tensor

    @classmethod
    def from_codes(cls, codes_BT: Tensor) -> TokenMarks:
        """Read the codes; samples are numbered over the whole batch, -1 is padding."""
        mask = codes_BT > 0
        example = (codes_BT - 1) // 2
        rows = torch.arange(codes_BT.shape[0], device=codes_BT.device)[:, None]
        sample = torch.where(mask, rows * (int(example.max()) + 1) + example, -1)
        return cls(is_tool=mask & (codes_BT % 2 == 0), mask=mask, sample=sample)


def code(example: int, is_tool: bool) -> int:
    """Return the code of the tokens of a row's `example`-th example."""
    return 2 * example + 1 + is_tool


def is_tool(code: int) -> bool:
    """Return whether a token's code says tool data; of a token that has one."""
    return code % 2 == 0


def hide(ids: Sequence[int], code: int) -> list[int]:
    """Return token ids that carry `code`."""
    return hidden.hide(ids, [code] * len(ids))


def reveal(ids: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the plain ids and the codes in them; examples are renumbered from 0 in order of appearance."""
    plain, found_codes = hidden.reveal(ids)
    order: dict[int, int] = {}
    codes = {0: 0}
    for found in dict.fromkeys(found_codes):  # few: one for each example of the row
        if found:
            example, is_tool = divmod(found - 1, 2)
            codes[found] = code(order.setdefault(example, len(order)), bool(is_tool))
    return plain, [codes[found] for found in found_codes]


def pad_codes(rows: Sequence[Sequence[int]], length: int, side: str) -> Tensor:
    """Return rows of codes as one tensor (B, length), zeros on the given side."""
    codes_BT = torch.zeros(len(rows), length, dtype=torch.long)
    for i, row in enumerate(rows):
        start = 0 if side == "right" else length - len(row)
        codes_BT[i, start : start + len(row)] = torch.as_tensor(row, dtype=torch.long)
    return codes_BT
