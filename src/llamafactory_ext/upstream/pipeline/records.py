"""Hands records to LLaMA-Factory's loader as their file has them, and makes of each what all our rooms make of it.

Upstream reads JSON into typed columns: records get the members of one another as nulls, and two types in one column
end the run. So each record of a run of ours travels as one JSON text, and is read where it is converted.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

from datasets import config
from llamafactory.data.template import TEMPLATES, Llama2Template

from ...data.dialogues import CALL, GPT, HUMAN, OBSERVATION, order_fault
from ...data.entries import DataEntry, Dialogue
from ...data.files.reading import iter_records
from ...data.files.repeated import as_text
from ...data.files.writing import atomic_text, make_folder
from ...data.message_parts import Words
from ...data.shape import columns_of
from ...sources import source_hash
from .api import loading_data
from .requests import keeps_records, marks_requested, reads_records

RECORD, PLACE = "ext_record", "ext_place"
_WRITTEN = b"2"  # counts the ways in which records were written
WHOLE = "_record"
LEFT_OUT = "upstream leaves the record out"
_ROLES = {HUMAN: "user", GPT: "assistant", OBSERVATION: "observation", CALL: "function"}
_JSON = (".json", ".jsonl")
# An even number of turns: upstream's own processors drop it too.
_NOTHING: dict[str, Any] = {
    "_prompt": [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}],
    "_response": [{"role": "assistant", "content": ""}],
    "_system": "",
    "_tools": "",
    "_silent": "",
    "_lost": "",
}


def words_of(template: str | None) -> Words:
    """Return how a template of upstream's table marks a thought and the calls behind words."""
    found = TEMPLATES.get(template or "")
    if found is None:
        return Words()
    # This class hands its formatter no words: a turn of calls is JSON and nothing else.
    call = None if isinstance(found, Llama2Template) else tuple(found.tool_call_words)
    return Words(tuple(found.thought_words), call, own_line=found.format_tools.tool_format == "glm4")


def messages_of(dialogue: Dialogue) -> list[dict[str, str]]:
    """Return the turns by upstream's inner role names."""
    return [{"role": _ROLES[role], "content": text} for role, text in dialogue.turns]


def row_of(dialogue: Dialogue) -> dict[str, Any]:
    """Return the columns of an aligned example, as upstream's processors read them, and ours beside them."""
    messages = messages_of(dialogue)
    return {
        "_prompt": messages[:-1],
        "_response": messages[-1:],
        "_system": dialogue.system,
        "_tools": dialogue.tools,
        "_silent": ",".join(map(str, sorted(dialogue.silent))),
        "_lost": json.dumps(dialogue.lost) if dialogue.lost else "",
    }


class RecordConverter:
    """Makes of a record what `DataEntry.dialogue` makes of it, with its place and its mark."""

    def __init__(self, converter: Any, entry: DataEntry, words: Words, *, marked: bool, whole: bool = False) -> None:
        self.converter, self.entry, self.words, self.marked, self.whole = converter, entry, words, marked, whole
        self.source = source_hash()  # by which upstream's cache knows what was converted

    @classmethod
    def of(cls, converter: Any, name: str, entry: Mapping[str, Any], data_args: Any) -> RecordConverter:
        """Return the converter of one entry of dataset_info.json.

        Raises:
            DataError: the entry cannot be read.
        """
        read = DataEntry.of(name, entry, Path(str(entry.get("file_name", name))))
        marked, whole = marks_requested(data_args), keeps_records(data_args)
        return cls(converter, read, words_of(data_args.template), marked=marked, whole=whole)

    def __call__(self, example: dict[str, Any]) -> dict[str, Any]:
        place = example.get(PLACE) or self.entry.name
        record = json.loads(example[RECORD]) if RECORD in example else self._without_nulls(example)
        row = {**self._turns(record), "_place": place, "_kind": self._kind(record), **self._media(record)}
        if self.marked:
            row["_mark"], row["_task"] = self.entry.marks.resolve(record)
        if self.whole:
            row[WHOLE] = example.get(RECORD) or json.dumps(record, default=str)
        return row

    def _turns(self, record: Any) -> dict[str, Any]:
        dialogue = self.entry.dialogue(record, self.words)
        if isinstance(dialogue, str):
            return {**_NOTHING, "_fault": dialogue, "_skipped": ""}
        skipped = order_fault([role for role, _ in dialogue.turns])
        if skipped is not None:
            return {**_NOTHING, "_fault": "", "_skipped": skipped}
        return {**row_of(dialogue), "_fault": "", "_skipped": ""}

    def _kind(self, record: Any) -> str:
        marks = self.entry.marks
        if not isinstance(record, Mapping) or not marks.states_marks or marks.problem(record) is not None:
            return self.entry.name
        mark, task = marks.resolve(record)
        return mark if task == mark else f"{mark}, {task}"

    def _media(self, record: Any) -> dict[str, Any]:
        attribute = getattr(self.converter, "dataset_attr", None)
        found = {}
        for kind in ("images", "videos", "audios"):
            column = getattr(attribute, kind, None)
            named = record.get(column) if column and isinstance(record, Mapping) else None
            found[f"_{kind}"] = self.converter._find_medias(named) if named else None
        return found

    def _without_nulls(self, example: dict[str, Any]) -> dict[str, Any]:
        """Return a row of a typed file, where a null member of calls or tools is one that another record has."""
        columns = columns_of(self.entry.entry)
        read = {columns.get("messages"), columns.get("tools"), "functions"}
        return {name: _stripped(value) if name in read else value for name, value in example.items()}


def _stripped(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _stripped(item) for name, item in value.items() if item is not None}
    return [_stripped(item) for item in value] if isinstance(value, list) else value


def wrap_load_single_dataset(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap upstream's reader of one data set: runs of ours get JSON files as one text for each record."""

    @wraps(original)
    def load_single_dataset(
        dataset_attr: Any, model_args: Any, data_args: Any, training_args: Any, *more: Any, **named: Any
    ) -> Any:
        source = dataset_attr.dataset_name
        if dataset_attr.load_from == "file" and reads_records(data_args):
            files = _files(Path(data_args.dataset_dir) / dataset_attr.dataset_name)
            if files and all(file.suffix in _JSON for file in files):
                dataset_attr = copy.copy(dataset_attr)
                dataset_attr.dataset_name = str(
                    _as_texts(files, Path(model_args.cache_dir or config.HF_DATASETS_CACHE))
                )
        with loading_data(f"The data of {source}"):
            return original(dataset_attr, model_args, data_args, training_args, *more, **named)

    return load_single_dataset


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file())
    return [path] if path.is_file() else []


def _as_texts(files: list[Path], cache: Path) -> Path:
    """Return a file of the cache with one line for each record: its place and itself as JSON text.

    Raises:
        DataError: a file is malformed, with the place.
    """
    digest = hashlib.sha256(_WRITTEN)
    for file in files:
        digest.update(f"{file.resolve()}\n".encode())
        with file.open("rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    target = cache.expanduser().resolve() / "llamafactory_ext" / f"{digest.hexdigest()}.jsonl"
    if not target.is_file():
        make_folder(target.parent, "cache_dir (HF_DATASETS_CACHE where it is not set):")
        with atomic_text(target) as output:
            for file in files:
                for place, record in iter_records(file):
                    line = {PLACE: f"{file.name}, {place}", RECORD: as_text(record)}
                    output.write(json.dumps(line) + "\n")
    return target
