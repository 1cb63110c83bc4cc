"""Carries the channels of `training/channels.py` through LLaMA-Factory's pipeline: tokenising, packing, collating.

Numbers of tokens are made only where the run asks for them, so that other methods see upstream's own processors.
Reading the marks of records is `requests.py`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any

import torch
from llamafactory.data.collator import SFTDataCollatorWith4DAttentionMask
from llamafactory.data.processor import PackedSupervisedDatasetProcessor, SupervisedDatasetProcessor

from ...data import hidden
from ...data.marks import TASK_COLUMN
from ...sources import source_hash
from ...training.channels import (
    Example,
    at_places,
    channels_asked,
    channels_named,
    hide_places,
    read_packed,
    read_places,
)
from .requests import marks_requested


class _NumberedPrompt(list):
    """A prompt that remembers which example it is of."""

    number = 0


@dataclass
class Carrying:
    """Gives each token its numbers; before upstream packs examples, their numbers are hidden in their ids."""

    if TYPE_CHECKING:
        data_args: Any
        _records: dict[str, list[Any]]
        _made: list[Example]

    source: str = field(default_factory=source_hash)  # by which upstream's cache knows what was preprocessed

    def _weights_of(self, prompt: Any) -> list[int] | None:
        return None

    def _encode_data_example(self, prompt: Any, **kwargs: Any) -> tuple[list[int], list[int]]:
        ids, labels = super()._encode_data_example(prompt=prompt, **kwargs)  # type: ignore[misc]
        record = {name: values[prompt.number] for name, values in self._records.items()}
        self._made.append(Example(record, ids, labels, self._weights_of(prompt)))
        return hidden.hide(ids, len(self._made)) if self.data_args.packing else ids, labels

    def preprocess_dataset(self, examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
        channels = channels_asked(self.data_args)
        prompts = [_NumberedPrompt(prompt) for prompt in examples["_prompt"]]
        for number, prompt in enumerate(prompts):
            prompt.number = number
        self._records, self._made = examples, []
        inputs = super().preprocess_dataset({**examples, "_prompt": prompts})  # type: ignore[misc]
        made = self._made
        del self._records, self._made
        if self.data_args.packing:
            rows = [read_packed(ids, made, channels) for ids in inputs["input_ids"]]
            inputs["input_ids"] = [ids for ids, _ in rows]
            for channel in channels:
                inputs[channel.column] = [codes[channel.column] for _, codes in rows]
            return inputs
        if marks_requested(self.data_args):
            inputs[TASK_COLUMN] = [example.record["_task"] for example in made]
        for channel in channels:
            inputs[channel.column] = [list(channel.codes(example, 0)) for example in made]
        return inputs


@dataclass
class CarryingProcessor(Carrying, SupervisedDatasetProcessor):
    """Upstream's supervised processor with channels."""


@dataclass
class CarryingPackedProcessor(Carrying, PackedSupervisedDatasetProcessor):
    """Upstream's packing processor with channels."""


def carrying_processor(get_dataset_processor: Any) -> Any:
    """Wrap upstream's choice of processor for runs that asked for channels."""

    @wraps(get_dataset_processor)
    def with_channels(data_args: Any, *args: Any, **kwargs: Any) -> Any:
        processor = get_dataset_processor(data_args, *args, **kwargs)
        carrying = {
            SupervisedDatasetProcessor: CarryingProcessor,
            PackedSupervisedDatasetProcessor: CarryingPackedProcessor,
        }.get(type(processor))
        return processor if carrying is None or not channels_asked(data_args) else rebuilt(processor, carrying)

    return with_channels


def rebuilt(processor: Any, kind: Any) -> Any:
    """Return a processor of another kind with the same parts."""
    parts = ("template", "tokenizer", "processor", "data_args")
    return kind(**{name: getattr(processor, name) for name in parts})


@dataclass
class CarryingCollator(SFTDataCollatorWith4DAttentionMask):
    """Upstream's collator; returns the numbers of `columns` as (B, T), wherever their tokens are then.

    Attributes:
        columns: those of channels.
    """

    columns: tuple[str, ...] = ()

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        channels = channels_named(self.columns)
        rows = [dict(feature) for feature in features]
        codes: dict[str, list[list[int]]] = {channel.column: [] for channel in channels}
        for row in rows:
            row.pop(TASK_COLUMN, None)
            for channel in channels:
                channel.check(row)
                codes[channel.column].append(row.pop(channel.column))
        for row, labels in zip(rows, hide_places([row["labels"] for row in rows]), strict=True):
            row["labels"] = labels
        batch: dict[str, torch.Tensor] = super().__call__(rows)
        batch["labels"], places_BT = read_places(batch["labels"])
        for column, given in codes.items():
            batch[column] = at_places(given, places_BT)
        return batch
