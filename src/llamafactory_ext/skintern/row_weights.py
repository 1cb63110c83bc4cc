"""Weigh answers and rationales that are trained apart: 0.3 and 0.7 of the loss (arXiv:2409.13183, MT-CoT).

Each row's own mean loss gets its weight, however long it is; so the loss of a step is the weighted mean over its rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from datasets import concatenate_datasets

from ..training.losses import IGNORE_INDEX
from ..training.token_weights import WEIGHTS_COLUMN, code_of

ANSWERS, RATIONALES = 0.3, 0.7
_UNIT: Final = 16.0  # a row's weights sum to more than 1, below which the loss does not divide


def weighed(taken: Mapping[str, Any], rationales: Any) -> dict[str, Any]:
    """Return the data sets of a step with loss weights, the rationales among the training rows.

    Args:
        taken: upstream's data sets, answers for training.
        rationales: rows of the rationales.
    """
    found: dict[str, Any] = {}
    for key, dataset in taken.items():
        if key == "train_dataset":
            rows = [_with_weight(dataset, ANSWERS), _with_weight(rationales, RATIONALES)]
            found[key] = concatenate_datasets(rows)
        elif isinstance(dataset, Mapping):
            found[key] = {name: _with_weight(rows, None) for name, rows in dataset.items()}
        else:
            found[key] = _with_weight(dataset, None)
    return found


def codes_of(labels: list[int], weight: float | None) -> list[int]:
    """Return the codes of a row's weights: each trained token a part of the row's weight, or 1 without one."""
    trained = sum(label != IGNORE_INDEX for label in labels)
    code = code_of(1.0 if weight is None else _UNIT * weight / max(trained, 1))
    return [0 if label == IGNORE_INDEX else code for label in labels]


def _with_weight(rows: Any, weight: float | None) -> Any:
    return rows.add_column(WEIGHTS_COLUMN, [codes_of(labels, weight) for labels in rows["labels"]])
