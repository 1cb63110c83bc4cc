"""Marks of single tokens: which example of its row a token belongs to, and whether that example is tool data.

What it does: turns an example's mark into token codes, and reads them. What it does not do: read data files
(`marks_spec.py`), or carry codes to a batch (`training/channels.py`).

A token's code is 0 for padding and 2 k + 1 + is_tool for the row's k-th example.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..methods import MARKS_COLUMN, TASK_COLUMN

__all__ = ["MARKS_COLUMN", "TASK_COLUMN", "TokenMarks", "code", "is_tool"]


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
