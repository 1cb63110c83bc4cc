"""Whether all processes of a run read the same data: machines may have files of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from torch import nn

from ..checkpoint.base import fingerprint
from .channels import all_columns
from .engines import engine_of
from .processes import digest, world
from .together import check_same

_SHOWN = {"train": "training", "train_dataset": "training", "eval": "evaluation", "eval_dataset": "evaluation"}


def content_hash(dataset: Any) -> str:
    """Return the hash of tokens, labels and all channels, the same wherever the data was tokenized."""
    content = hashlib.blake2b(digest_size=16)
    names = [name for name in ("input_ids", "labels", *all_columns()) if name in dataset.column_names]
    columns = dataset.select_columns(names).with_format("arrow")
    for batch in columns.iter(batch_size=1000):
        for name in batch.column_names:
            for chunk in batch.column(name).chunks:
                content.update(repr(chunk.value_lengths().to_pylist()).encode())
                content.update(np.asarray(chunk.flatten(), dtype=np.int64).tobytes())
    return content.hexdigest()


class RowHash:
    """A hash of rows that pass by once, as those of a stream do."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)

    def of(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """Hand on the rows, hashing each."""
        for row in rows:
            for name in ("input_ids", "labels", *all_columns()):
                if name in row:
                    values = np.asarray(row[name], dtype=np.int64)
                    self._digest.update(name.encode() + len(values).to_bytes(8) + values.tobytes())
            yield row

    def text(self) -> str:
        """Return the hash of what has passed so far."""
        return self._digest.hexdigest()


def check_same_data(data: Mapping[str, Any]) -> None:
    """Make sure that all processes have the same tokenized data.

    Args:
        data: data sets by name, mappings of several, or the hash of one; None for one that there is not.

    Raises:
        OptionError: they have not.
    """
    if world() == 1:
        return
    facts: dict[str, str | None] = {}
    for name, dataset in data.items():
        parts = dataset if isinstance(dataset, Mapping) else {"": dataset}
        for part, rows in parts.items():
            shown = f"{_SHOWN.get(name, name)} {part}".strip()
            facts[f"{shown} data (hash)"] = rows if isinstance(rows, str | None) else content_hash(rows)
    check_same(facts)


def check_same_base(model: nn.Module, training_args: Any) -> None:
    """Make sure that all processes have loaded the same base model, where each of them has all of it.

    Raises:
        OptionError: they have not.
    """
    if world() > 1:
        check_same({"base model (hash)": None if engine_of(training_args) else digest(fingerprint(model))})
