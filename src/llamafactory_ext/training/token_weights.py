"""Loss weights of single tokens: how they are written into a data set and carried beside the labels.

A weight is stored as a whole number, the code: weight times 2^20, rounded; 0 where nothing is trained. So it survives
engines that cast floating-point inputs to 16 bits. On the way through packing, cutting, padding and trimming a code is
hidden in its label, above the bits of the token id: whatever moves the labels moves the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from ..data import hidden
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


def hide(labels: Sequence[int], codes: Sequence[int]) -> list[int]:
    """Return labels that carry codes; a label of -100 carries none."""
    return hidden.hide(labels, codes, IGNORE_INDEX)


def reveal(labels: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the plain labels and the codes in them."""
    return hidden.reveal(labels, IGNORE_INDEX)


def reveal_batch(labels_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Do what `reveal` does, for a padded batch."""
    return hidden.reveal_batch(labels_BT, IGNORE_INDEX)


def hidden_labels(row: dict[str, Any]) -> list[int]:
    """Return the labels of a data set's row with its weights in them; takes both out of the row.

    Raises:
        DataError: the row has no weights, or they do not lie on the trained tokens.
    """
    labels, codes = row.pop("labels"), row.pop(WEIGHTS_COLUMN, None)
    advice = "delete the folder of tokenized_path, or set overwrite_cache: true, to have the data tokenized again"
    if codes is None:
        raise DataError(
            f'A row of the data has no column "{WEIGHTS_COLUMN}", so its loss would be unweighted; {advice}'
        )
    if len(codes) != len(labels) or any(
        (code <= 0) != (label == IGNORE_INDEX) for code, label in zip(codes, labels, strict=True)
    ):
        raise DataError(f'In a row of the data, "{WEIGHTS_COLUMN}" does not lie on the trained tokens; {advice}')
    return hide(labels, codes)
