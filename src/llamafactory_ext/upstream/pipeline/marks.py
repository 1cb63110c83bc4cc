"""Carries tool/general marks through LLaMA-Factory's data pipeline: tokenising, packing, collating.

Token marks are made only where the run asks for them (`request_marks`), so that other methods see upstream's own
processors. Reading the marks is `requests.py`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any

import torch
from llamafactory.data.collator import SFTDataCollatorWith4DAttentionMask
from llamafactory.data.processor import PackedSupervisedDatasetProcessor, SupervisedDatasetProcessor

from ...data.marks import MARKS_COLUMN, TASK_COLUMN, code, hide, pad_codes, reveal
from ...sources import source_hash
from .requests import marks_requested


class _MarkedPrompt(list):
    """A prompt that remembers its example's number and code."""

    number = code = 0


@dataclass
class Marking:
    """Gives each token its example's code; before upstream packs examples, codes are hidden in their ids."""

    if TYPE_CHECKING:
        data_args: Any
        _numbers: list[int]

    source: str = field(default_factory=source_hash)  # by which upstream's cache knows what was preprocessed

    def _encode_data_example(self, prompt: Any, **kwargs: Any) -> tuple[list[int], list[int]]:
        ids, labels = super()._encode_data_example(prompt=prompt, **kwargs)  # type: ignore[misc]
        self._numbers.append(prompt.number)
        return hide(ids, prompt.code) if self.data_args.packing else ids, labels

    def preprocess_dataset(self, examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
        prompts = []
        for i, prompt in enumerate(examples["_prompt"]):
            prompts.append(_MarkedPrompt(prompt))
            prompts[-1].number, prompts[-1].code = i, code(i, examples["_mark"][i] == "tool")
        self._numbers = []
        inputs = super().preprocess_dataset({**examples, "_prompt": prompts})  # type: ignore[misc]
        numbers = self._numbers
        del self._numbers
        rows = inputs["input_ids"]
        if self.data_args.packing:
            revealed = [reveal(ids) for ids in rows]
            inputs["input_ids"] = [ids for ids, _ in revealed]
            inputs[MARKS_COLUMN] = [codes for _, codes in revealed]
            return inputs
        inputs[TASK_COLUMN] = [examples["_task"][i] for i in numbers]
        codes = [code(0, examples["_mark"][i] == "tool") for i in numbers]
        inputs[MARKS_COLUMN] = [[one] * len(ids) for one, ids in zip(codes, rows, strict=True)]
        return inputs


@dataclass
class MarkedSupervisedProcessor(Marking, SupervisedDatasetProcessor):
    """Upstream's supervised processor with marks."""


@dataclass
class MarkedPackedProcessor(Marking, PackedSupervisedDatasetProcessor):
    """Upstream's packing processor with marks."""


def marked_processor(get_dataset_processor: Any) -> Any:
    """Wrap upstream's choice of processor for runs that asked for marks."""

    @wraps(get_dataset_processor)
    def with_marks(data_args: Any, *args: Any, **kwargs: Any) -> Any:
        processor = get_dataset_processor(data_args, *args, **kwargs)
        marked = {
            SupervisedDatasetProcessor: MarkedSupervisedProcessor,
            PackedSupervisedDatasetProcessor: MarkedPackedProcessor,
        }.get(type(processor))
        if marked is None or not marks_requested(data_args):
            return processor
        return rebuilt(processor, marked)

    return with_marks


def rebuilt(processor: Any, kind: Any) -> Any:
    """Return a processor of another kind with the same parts."""
    parts = ("template", "tokenizer", "processor", "data_args")
    return kind(**{name: getattr(processor, name) for name in parts})


@dataclass
class MarkedCollator(SFTDataCollatorWith4DAttentionMask):
    """Upstream's collator; pads the marks like the ids and returns them as column MARKS_COLUMN (B, T)."""

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        codes = [feature.pop(MARKS_COLUMN) for feature in features]
        for feature in features:
            feature.pop(TASK_COLUMN, None)
        batch = super().__call__(features)
        length = batch["input_ids"].shape[1]
        if len(codes) == 1 and length < len(codes[0]):  # neat packing under flash attention trims padding, in one row
            codes = [[token for token in codes[0] if token]]
        batch[MARKS_COLUMN] = pad_codes(codes, length, self.tokenizer.padding_side)
        return batch
