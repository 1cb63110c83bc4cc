"""Reads the tool/general mark of each record beside what LLaMA-Factory reads of it, for runs that ask for marks.

Loss weights are asked for in the same way: by data arguments that say so. Nothing here imports upstream: it is wrapped
while its data package is still loading.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.marks_spec import MarkSpec
from ...sources import source_hash

if TYPE_CHECKING:
    from ...tl.sft.examples import Settings

Function = Callable[..., Any]
_REQUEST = "citi_marks_requested"
_WEIGHTS = "tl_weights_requested"
_ENTRY = "citi_entry"


def request_marks(data_args: Any, **changes: Any) -> Any:
    """A copy of the data arguments that makes `get_dataset` return token marks; `changes` override single fields."""
    data_args = copy.copy(data_args)
    for name, value in changes.items():
        setattr(data_args, name, value)
    setattr(data_args, _REQUEST, True)
    return data_args


def marks_requested(data_args: Any) -> bool:
    """Whether these data arguments come from `request_marks`."""
    return getattr(data_args, _REQUEST, False)


def request_weights(data_args: Any, settings: Settings) -> Any:
    """A copy of the data arguments that makes `get_dataset` return the loss weights that `settings` lead to."""
    data_args = copy.copy(data_args)
    setattr(data_args, _WEIGHTS, settings)
    return data_args


def requested_weights(data_args: Any) -> Settings | None:
    """What these data arguments were given by `request_weights`."""
    return getattr(data_args, _WEIGHTS, None)


def attach_entries(get_dataset_list: Function) -> Function:
    """Wraps upstream's reader of dataset_info.json: each data set keeps its whole entry, marks included."""

    @wraps(get_dataset_list)
    def with_entries(dataset_names: list[str] | None, dataset_dir: str | dict[str, Any]) -> list[Any]:
        attributes = get_dataset_list(dataset_names, dataset_dir)
        entries = dataset_dir if isinstance(dataset_dir, dict) else _entries(Path(dataset_dir))
        for name, attribute in zip(dataset_names or [], attributes, strict=True):
            setattr(attribute, _ENTRY, (name, entries.get(name, {})))
        return attributes

    return with_entries


def _entries(folder: Path) -> dict[str, Any]:
    path = folder / "dataset_info.json"
    if not path.is_file():  # an online hub or a remote repository: nothing of ours is in there
        return {}
    return json.loads(path.read_text(encoding="utf-8-sig"))


class MarkingConverter:
    """Upstream's converter, and the record's mark and task beside what it gives."""

    def __init__(self, converter: Function, spec: MarkSpec) -> None:
        self.converter, self.spec = converter, spec
        self.source = source_hash()  # by which upstream's cache knows what was converted

    def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
        mark, task = self.spec.resolve(example)
        return {**self.converter(example), "_mark": mark, "_task": task}


def mark_converted(get_dataset_converter: Function) -> Function:
    """Wraps upstream's choice of converter for runs that asked for marks."""

    @wraps(get_dataset_converter)
    def with_marks(name: str, dataset_attr: Any, data_args: Any) -> Any:
        converter = get_dataset_converter(name, dataset_attr, data_args)
        if not marks_requested(data_args):
            return converter
        return MarkingConverter(converter, MarkSpec.from_entry(*getattr(dataset_attr, _ENTRY)))

    return with_marks
