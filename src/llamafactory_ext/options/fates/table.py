"""The whole table, by the option's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .adapters import ADAPTER_ROWS
from .data import DATA_ROWS, GENERATING_ROWS
from .finetuning import FINETUNING_ROWS, MEGATRON_ROWS
from .model import MODEL_ROWS
from .row import Row
from .saving import OLD_ROWS, SAVING_ROWS
from .training import TRAINING_ROWS

PARTS: Final[Mapping[str, tuple[Row, ...]]] = {
    "Model": MODEL_ROWS,
    "Data": DATA_ROWS,
    "Training": TRAINING_ROWS,
    "Evaluation, logs and checkpoints": SAVING_ROWS,
    "Which weights train": ADAPTER_ROWS,
    "Fine-tuning": FINETUNING_ROWS,
    "Generation": GENERATING_ROWS,
    "Megatron Bridge (LLaMA-Factory's main)": MEGATRON_ROWS,
    "transformers 4 only": OLD_ROWS,
}
ROWS: Final[Mapping[str, Row]] = {row.name: row for rows in PARTS.values() for row in rows}
