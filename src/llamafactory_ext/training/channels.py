"""Numbers of single tokens that travel beside the ids, a row for each kind of them.

Upstream packs, pads and trims ids and labels and knows of nothing else. So the number of its example hides in each id
before examples are packed, and its place in the batch in each label before rows are padded (`data/hidden.py`).
Wherever a token ends up, its numbers are looked up by these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count, groupby
from typing import Any, Final

import torch
from torch import Tensor

from ..data import hidden
from ..data.marks import MARKS_COLUMN, code
from .losses import IGNORE_INDEX
from .token_weights import WEIGHTS_COLUMN, check_weights

MARKS_ASKED: Final = "ext_marks_requested"  # attributes of data arguments by which a run asks for a channel
WEIGHTS_ASKED: Final = "tl_weights_requested"
_LIFT: Final = -IGNORE_INDEX  # makes every label a number that can carry another


@dataclass(frozen=True)
class Example:
    """One example as it was encoded.

    Attributes:
        record: its columns, as upstream's converter gives them.
        ids: its tokens.
        labels: of them.
        weights: codes of the tokens' loss weights; None where a run asks for none.
    """

    record: Mapping[str, Any]
    ids: Sequence[int]
    labels: Sequence[int]
    weights: Sequence[int] | None = None


@dataclass(frozen=True)
class Channel:
    """A whole number for each token; padding has 0.

    Attributes:
        column: its name in a data set and in a batch.
        asked: the attribute of data arguments by which a run asks for it.
        codes: (example, k) -> the numbers of its tokens, where the example is the k-th of its row.
        check: what a row of a data set must have; it raises a DataError.
    """

    column: str
    asked: str
    codes: Callable[[Example, int], Sequence[int]]
    check: Callable[[Mapping[str, Any]], None] = lambda row: None


def _marks(example: Example, k: int) -> list[int]:
    return [code(k, example.record["_mark"] == "tool")] * len(example.ids)


def _weights(example: Example, k: int) -> Sequence[int]:
    assert example.weights is not None
    return example.weights


CHANNELS: tuple[Channel, ...] = (
    Channel(MARKS_COLUMN, MARKS_ASKED, _marks),
    Channel(WEIGHTS_COLUMN, WEIGHTS_ASKED, _weights, check_weights),
)


def channels_asked(data_args: Any) -> list[Channel]:
    """Return the channels that a run asks for."""
    return [channel for channel in CHANNELS if getattr(data_args, channel.asked, None)]


def all_columns() -> list[str]:
    """Return the columns of all channels."""
    return [channel.column for channel in CHANNELS]


def channels_named(columns: Sequence[str]) -> list[Channel]:
    """Return the channels of some columns."""
    return [channel for channel in CHANNELS if channel.column in columns]


def read_packed(
    ids: Sequence[int], examples: Sequence[Example], channels: Sequence[Channel]
) -> tuple[list[int], dict[str, list[int]]]:
    """Return the plain ids of a packed row, and its numbers by column.

    Args:
        ids: each with the number of its example, from 1; padding has none.
        examples: by their numbers.
        channels: that are wanted.
    """
    plain, numbers = hidden.reveal(ids)
    found: dict[str, list[int]] = {channel.column: [] for channel in channels}
    k = 0
    for number, run in groupby(numbers):
        length = sum(1 for _ in run)
        for channel in channels:
            codes = channel.codes(examples[number - 1], k) if number else [0] * length
            assert len(codes) == length
            found[channel.column] += codes
        k += number > 0
    return plain, found


def hide_places(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return labels of a batch that carry the place of their token in it, counted from 1 over all rows."""
    place = count(1)
    return [[label + _LIFT + next(place) * hidden.SHIFT for label in labels] for labels in rows]


def read_places(labels_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Return the plain labels of a padded batch, and the places in them; 0 where there is padding."""
    carries = labels_BT >= hidden.SHIFT
    plain = labels_BT % hidden.SHIFT - _LIFT
    return torch.where(carries, plain, IGNORE_INDEX), torch.where(carries, labels_BT // hidden.SHIFT, 0)


def at_places(rows: Sequence[Sequence[int]], places_BT: Tensor) -> Tensor:
    """Return the numbers of a batch's tokens, (B, T), given row by row before they were padded."""
    return torch.tensor([0, *chain.from_iterable(rows)], dtype=torch.long)[places_BT]
