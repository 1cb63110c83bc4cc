"""Loss weights of single tokens: how they are written into a data set.

A weight is stored as a whole number, the code: weight times 2^20, rounded; 0 where nothing is trained. So it survives
engines that cast floating-point inputs to 16 bits. `channels.py` carries it through packing, padding and trimming.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import DataError
from .devices import widest
from .losses import IGNORE_INDEX

WEIGHTS_COLUMN = "tl_weights"
SCALE = 1 << 20


def code_of(weight: float) -> int:
    """Return the code of a weight > 0."""
    return round(weight * SCALE)


def weights_of(codes: Tensor) -> Tensor:
    """Return the weights that codes stand for, in float32."""
    return (codes.to(widest(codes.device)) / SCALE).float()


def check_weights(row: Mapping[str, Any]) -> None:
    """Make sure that the weights of a data set's row lie on its trained tokens.

    Raises:
        DataError: the row has no weights, or they do not.
    """
    labels, codes = row["labels"], row.get(WEIGHTS_COLUMN)
    advice = "delete the folder of tokenized_path, or set overwrite_cache: true, to have the data tokenized again"
    if codes is None:
        raise DataError(
            f'A row of the data has no column "{WEIGHTS_COLUMN}", so its loss would be unweighted; {advice}'
        )
    if len(codes) != len(labels) or any(
        (code <= 0) != (label == IGNORE_INDEX) for code, label in zip(codes, labels, strict=True)
    ):
        raise DataError(f'In a row of the data, "{WEIGHTS_COLUMN}" does not lie on the trained tokens; {advice}')
