"""Carries tool/general marks through LLaMA-Factory's data pipeline: reading, tokenising, packing, collating.

A data set whose entry states no mark passes exactly as before. Token marks are made only where the run asks for them
(`request_marks`), so that other methods see upstream's own processors.
"""

from __future__ import annotations

import copy
import json
import os
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from llamafactory.data.collator import SFTDataCollatorWith4DAttentionMask
from llamafactory.data.processor import PackedSupervisedDatasetProcessor, SupervisedDatasetProcessor

from ..data import marks as marks_module
from ..data.marks import MARKS_COLUMN, TASK_COLUMN, code, hidden_example, hide, pad_codes, reveal, source_hash
from ..data.marks_spec import MarkSpec
from ..errors import DataError

_REQUEST = "citi_marks_requested"
_SPEC = "citi_mark_spec"


def request_marks(data_args: Any, **changes: Any) -> Any:
    """A copy of the data arguments that makes `get_dataset` return token marks."""
    data_args = copy.copy(data_args)
    for name, value in changes.items():
        setattr(data_args, name, value)
    setattr(data_args, _REQUEST, True)
    return data_args


def attach_specs(get_dataset_list: Any) -> Any:
    """Wraps upstream's reader of dataset_info.json: every entry also learns where its marks are."""

    @wraps(get_dataset_list)
    def with_specs(dataset_names: list[str] | None, dataset_dir: str | dict[str, Any]) -> list[Any]:
        attributes = get_dataset_list(dataset_names, dataset_dir)
        entries = dataset_dir if isinstance(dataset_dir, dict) else _entries(dataset_dir)
        for name, attribute in zip(dataset_names or [], attributes, strict=True):
            spec = MarkSpec.from_entry(name, entries.get(name, {}))
            if spec.states_marks:
                setattr(attribute, _SPEC, spec)
        return attributes

    return with_specs


def _entries(dataset_dir: str) -> dict[str, Any]:
    path = os.path.join(dataset_dir, "dataset_info.json")
    if not os.path.isfile(path):  # an online hub or a remote repository: nothing of ours is in there
        return {}
    with open(path, encoding="utf-8") as file:
        return json.load(file)


class _MarkingConverter:
    """Upstream's converter, and the record's mark beside what it gives."""

    def __init__(self, converter: Any, spec: MarkSpec) -> None:
        self.converter, self.spec = converter, spec

    def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
        mark, task = self.spec.resolve(example)
        return {**self.converter(example), "_mark": mark, "_task": task}


def mark_converted(get_dataset_converter: Any) -> Any:
    """Wraps upstream's choice of converter for the data sets that state marks."""

    @wraps(get_dataset_converter)
    def with_marks(name: str, dataset_attr: Any, data_args: Any) -> Any:
        converter = get_dataset_converter(name, dataset_attr, data_args)
        spec = getattr(dataset_attr, _SPEC, None)
        return converter if spec is None else _MarkingConverter(converter, spec)

    return with_marks


class _MarkedPrompt(list):
    """A prompt that remembers its example's code."""

    code = 0


@dataclass
class _Marking:
    """Hides each example's code in its ids before upstream packs and cuts them, and reads it back afterwards."""

    source: str = source_hash(__file__, str(marks_module.__file__))

    def _encode_data_example(self, prompt: Any, **kwargs: Any) -> tuple[list[int], list[int]]:
        ids, labels = super()._encode_data_example(prompt=prompt, **kwargs)  # type: ignore[misc]
        return hide(ids, prompt.code), labels

    def preprocess_dataset(self, examples: dict[str, list[Any]]) -> dict[str, list[Any]]:
        prompts = []
        for i, prompt in enumerate(examples["_prompt"]):
            mark = examples["_mark"][i] if "_mark" in examples else None
            if mark is None:
                raise DataError(
                    "an example has no mark: its data set's entry in dataset_info.json states none; add "
                    '"mark": "mark" and "task": "task" to its "columns", or "mark": "tool" (or "general") to the entry.'
                )
            prompts.append(_MarkedPrompt(prompt))
            prompts[-1].code = code(i, mark == "tool")
        inputs = super().preprocess_dataset({**examples, "_prompt": prompts})  # type: ignore[misc]
        rows = inputs["input_ids"]
        if not getattr(self, "data_args").packing:
            inputs[TASK_COLUMN] = [examples["_task"][hidden_example(ids)] for ids in rows]
        revealed = [reveal(ids) for ids in rows]
        inputs["input_ids"] = [ids for ids, _ in revealed]
        inputs[MARKS_COLUMN] = [codes for _, codes in revealed]
        return inputs


@dataclass
class MarkedSupervisedProcessor(_Marking, SupervisedDatasetProcessor):
    """Upstream's supervised processor with marks."""


@dataclass
class MarkedPackedProcessor(_Marking, PackedSupervisedDatasetProcessor):
    """Upstream's packing processor with marks."""


def marked_processor(get_dataset_processor: Any) -> Any:
    """Wraps upstream's choice of processor for runs that asked for marks."""

    @wraps(get_dataset_processor)
    def with_marks(data_args: Any, *args: Any, **kwargs: Any) -> Any:
        processor = get_dataset_processor(data_args, *args, **kwargs)
        marked = {
            SupervisedDatasetProcessor: MarkedSupervisedProcessor,
            PackedSupervisedDatasetProcessor: MarkedPackedProcessor,
        }.get(type(processor))
        if marked is None or not getattr(data_args, _REQUEST, False):
            return processor
        return marked(
            template=processor.template,
            tokenizer=processor.tokenizer,
            processor=processor.processor,
            data_args=data_args,
        )

    return with_marks


@dataclass
class MarkedCollator(SFTDataCollatorWith4DAttentionMask):
    """Upstream's collator; pads the marks like the ids and returns them as `citi_marks` (B, T)."""

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
