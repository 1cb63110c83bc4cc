"""Reads the tool/general mark of each record beside what LLaMA-Factory reads of it, for runs that ask for marks.

Loss weights are asked for in the same way: by data arguments that say so. Nothing here imports upstream: it is wrapped
while its data package is still loading.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.intake import KEEP
from ...data.marks_spec import MarkSpec
from ...errors import UpstreamError
from ...sources import source_hash
from ...training.channels import MARKS_ASKED, WEIGHTS_ASKED

if TYPE_CHECKING:
    from ...training.weighing import Weigher

Function = Callable[..., Any]
_RECORDS = "ext_records_requested"
_READING = "ext_reading_requested"
_WHOLE = "ext_whole_records_requested"
ENTRY = "ext_entry"


def request_marks(data_args: Any, **changes: Any) -> Any:
    """Return a copy of the data arguments that makes `get_dataset` return token marks.

    `changes` override single fields.
    """
    data_args = copy.copy(data_args)
    for name, value in changes.items():
        setattr(data_args, name, value)
    setattr(data_args, MARKS_ASKED, True)
    return data_args


def marks_requested(data_args: Any) -> bool:
    """Tell whether these data arguments come from `request_marks`."""
    return getattr(data_args, MARKS_ASKED, False)


def request_weights(data_args: Any, settings: Weigher) -> Any:
    """Return a copy of the data arguments that makes `get_dataset` return the loss weights that `settings` lead to."""
    data_args = copy.copy(data_args)
    setattr(data_args, WEIGHTS_ASKED, settings)
    return data_args


def requested_weights(data_args: Any) -> Weigher | None:
    """Return what these data arguments were given by `request_weights`."""
    return getattr(data_args, WEIGHTS_ASKED, None)


def request_records(data_args: Any, action: str = KEEP) -> Any:
    """Return a copy of the data arguments that makes `get_dataset` count what becomes of the records.

    Args:
        data_args: upstream's group of the options.
        action: as `cutoff_action`: what becomes of examples that are longer than cutoff_len.
    """
    data_args = copy.copy(data_args)
    setattr(data_args, _RECORDS, action)
    return data_args


def requested_action(data_args: Any) -> str | None:
    """Return what these data arguments were given by `request_records`; None without it."""
    return getattr(data_args, _RECORDS, None)


def in_order(data_args: Any) -> Any:
    """Return a copy of the data arguments whose streams keep the order of the files, which upstream shuffles."""
    data_args = copy.copy(data_args)
    data_args.buffer_size = 1
    return data_args


def request_whole_records(data_args: Any) -> Any:
    """Return a copy of the data arguments that keeps each record beside its turns, as its file has it."""
    data_args = copy.copy(data_args)
    setattr(data_args, _WHOLE, True)
    return data_args


def keeps_records(data_args: Any) -> bool:
    """Tell whether these data arguments come from `request_whole_records`."""
    return getattr(data_args, _WHOLE, False)


def request_reading(data_args: Any) -> Any:
    """Return a copy of the data arguments for upstream's evaluation of our methods, with records read by us."""
    data_args = copy.copy(data_args)
    setattr(data_args, _READING, True)
    return data_args


def reads_records(data_args: Any) -> bool:
    """Tell whether these data arguments come from a run of ours, whose records are read by us."""
    asked = marks_requested(data_args) or getattr(data_args, _READING, False)
    return asked or requested_weights(data_args) is not None or requested_action(data_args) is not None


def attach_entries(get_dataset_list: Function) -> Function:
    """Wrap upstream's reader of dataset_info.json: each data set keeps its whole entry, marks included."""

    @wraps(get_dataset_list)
    def with_entries(
        dataset_names: list[str] | None, dataset_dir: str | dict[str, Any], *more: Any, **named: Any
    ) -> list[Any]:
        attributes = get_dataset_list(dataset_names, dataset_dir, *more, **named)
        with suppress(Exception):  # a run that is not ours must not notice; one of ours misses the entry
            entries = dataset_dir if isinstance(dataset_dir, dict) else _entries(Path(dataset_dir))
            for name, attribute in zip(dataset_names or [], attributes, strict=True):
                setattr(attribute, ENTRY, (name, entries.get(name, {})))
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
    """Wrap upstream's choice of converter for runs of ours: records become turns as everywhere else here."""

    @wraps(get_dataset_converter)
    def with_marks(name: str, dataset_attr: Any, data_args: Any, *more: Any, **named: Any) -> Any:
        converter = get_dataset_converter(name, dataset_attr, data_args, *more, **named)
        if not hasattr(dataset_attr, ENTRY):
            raise UpstreamError(
                f"the entry of {dataset_attr} in dataset_info.json cannot be read; see `llamafactory-ext data check`"
            )
        own, entry = getattr(dataset_attr, ENTRY)
        if dataset_attr.ranking or dataset_attr.kto_tag:  # pairs of answers are upstream's alone
            return (
                MarkingConverter(converter, MarkSpec.from_entry(own, entry))
                if marks_requested(data_args)
                else converter
            )
        from .records import RecordConverter

        return RecordConverter.of(converter, own, {"formatting": name, **entry}, data_args)

    return with_marks
