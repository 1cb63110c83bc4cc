"""The data sets that a command names: their entries, their files, and the first records, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ...errors import DataError
from ..entries import FORMATTINGS, DataEntry
from ..entry_types import REMOTE, entry_faults
from ..files.reading import iter_records
from ..files.writing import DATASET_INFO, near_names

FIRST = 20  # records that are looked at
_JSON = (".json", ".jsonl")
_READ = (*_JSON, ".arrow", ".csv", ".parquet", ".txt")


def dataset_problems(option: str, names: Sequence[str], info: Mapping[str, Any], folder: Path) -> list[str]:
    """Say what keeps the named data sets from being used.

    Args:
        option: that names them, such as `dataset`.
        names: of entries.
        info: what dataset_info.json holds.
        folder: of dataset_info.json.
    """
    problems = []
    for name in dict.fromkeys(names):
        if name not in info:
            problems.append(f"{option}={name} is not in {folder / DATASET_INFO}; {near_names(name, info).rstrip('.')}")
        else:
            problems += _entry_problems(name, info[name], folder)
    return problems


def _entry_problems(name: str, entry: Any, folder: Path) -> list[str]:
    where = f"{folder / DATASET_INFO}, entry {name}"
    if not isinstance(entry, Mapping):
        return [f'{where}: it is no object; write {{"file_name": "{name}.json"}} there']
    if faults := entry_faults(entry, folder):
        return [f"{where}: {fault}" for fault in faults]
    if any(key in entry for key in REMOTE):
        return []
    file_name = entry.get("file_name")
    if not isinstance(file_name, str) or not file_name:
        return [f"{where}: no file_name; name the data file"]
    if entry.get("formatting", "alpaca") not in FORMATTINGS:
        return [f"{where}: formatting is {entry['formatting']!r}; write one of {', '.join(FORMATTINGS)}"]
    path = folder / file_name
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    if not files:
        return [f"{path} is a folder without files; put the data there, or correct file_name of {name}"]
    if not files[0].exists():
        return [f"{path} does not exist; make it, or correct file_name of {name} in {folder / DATASET_INFO}"]
    return [problem for file in files if (problem := _file_problem(name, entry, file))]


def _file_problem(name: str, entry: Mapping[str, Any], file: Path) -> str | None:
    if file.suffix not in _READ:
        return f"{file}: LLaMA-Factory reads {', '.join(_READ)} only; convert the file, or give it the right name"
    if file.suffix not in _JSON:
        return None
    try:
        read = DataEntry.of(name, {key: value for key, value in entry.items() if key not in ("mark", "task")}, file)
        records = list(islice(iter_records(file), FIRST))
    except DataError as error:
        return error.message.rstrip(".")
    faults = [fault for _, record in records if isinstance(fault := read.dialogue(record), str)]
    if len(faults) < len(records):
        return None
    keys = sorted(records[0][1]) if isinstance(records[0][1], Mapping) else []
    has = f" (its keys: {', '.join(map(str, keys[:8]))})" if keys else ""
    return (
        f"{file}: none of the first {len(records)} records can be used{has}: {faults[0]}; correct the columns of "
        f"{name} in {DATASET_INFO}, or the file"
    )
