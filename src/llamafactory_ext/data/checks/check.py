"""Check the data sets of a run before any model is loaded: every problem at once, each with the next step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llamafactory_ext.errors import DataError

from ..entries import FORMATTINGS, DataEntry
from ..entry_types import REMOTE, entry_faults
from ..faults import Faults
from ..files.reading import iter_records
from ..files.writing import DATASET_INFO, existing_dataset_info, near_names
from ..marks_spec import MARKS, MarkSpec
from ..public.convert import FAMILIES
from ..shape import EMPTY_RESPONSE, Shape

_JSON = (".json", ".jsonl")
_OTHER_FORMATS = (".arrow", ".csv", ".parquet", ".txt")
_SHOWN_FAULTS = 10


@dataclass
class Scan:
    """What one data set holds.

    Attributes:
        marks: examples per mark.
        problems: what keeps a run from starting, in words.
        remarks: what does not.
        unknown: whether its examples cannot be seen from here (on a hub, or no JSON).
    """

    marks: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    unknown: bool = False


def check_dataset_file(path: str | Path, columns: Mapping[str, str] | None, **entry: Any) -> list[str]:
    """Return all problems of one JSON or JSONL data file, taken as the only data of a run; empty if there is none.

    Args:
        path: the file.
        columns: as in dataset_info.json; None means upstream's default names, and no marks.
        entry: more keys of the entry (formatting, tags, mark, task).
    """
    whole = {**entry, "columns": dict(columns)} if columns is not None else entry
    try:
        spec = MarkSpec.from_entry(Path(path).stem, whole)
    except DataError as error:
        return [error.message]
    scan = Scan()
    _scan_file(Path(path), whole, spec, scan)
    missing = [] if scan.problems else _missing_marks([scan])
    return [*scan.problems, *scan.remarks, *missing]


def check_datasets(dataset_names: Iterable[str], dataset_dir: str | Path | Mapping[str, Any]) -> list[str]:
    """Check all that a run with marks needs of its training data; return remarks that do not keep it from starting.

    Data sets on a hub, from a script or in the cloud cannot be checked before they are downloaded, nor records in CSV,
    Parquet or Arrow files: only what their entries say is.

    Args:
        dataset_names: as in the YAML's `dataset`.
        dataset_dir: the folder of dataset_info.json, or its contents, as upstream takes it.

    Raises:
        DataError: all problems, each with the next step.
    """
    names = list(dataset_names)
    if not names:
        raise DataError('No data set is named; write "dataset: <tool data>,<general data>" into the YAML.')
    if isinstance(dataset_dir, str) and dataset_dir.startswith("REMOTE:"):
        return []
    if dataset_dir == "ONLINE":
        raise DataError(
            "dataset_dir: ONLINE has no dataset_info.json, so nothing says which data is tool data; "
            'download the data, or describe it in a dataset_info.json with "mark": "tool" or "general".'
        )
    folder = Path() if isinstance(dataset_dir, Mapping) else Path(dataset_dir)
    info = dict(dataset_dir) if isinstance(dataset_dir, Mapping) else existing_dataset_info(folder)
    scans = {name: _scan_entry(name, info, folder) for name in dict.fromkeys(names)}
    problems = [problem for scan in scans.values() for problem in scan.problems]
    # A data set that could not be read may be the one with the missing mark: one complaint is enough then.
    if all(scan.marks or not scan.problems for scan in scans.values()):
        problems += _missing_marks(scans.values())
    if problems:
        raise DataError("\n".join(["The training data cannot be used:", *(f"  - {problem}" for problem in problems)]))
    return [remark for scan in scans.values() for remark in scan.remarks]


def _scan_entry(name: str, info: Mapping[str, Any], folder: Path) -> Scan:
    scan = Scan()
    if name not in info:
        scan.problems.append(f'data set "{name}" is not in {folder / DATASET_INFO}; {near_names(name, info)}')
        return scan
    entry = info[name]
    if faults := entry_faults(entry, folder):
        scan.problems += [f'{folder / DATASET_INFO}, entry "{name}": {fault}' for fault in faults]
        return scan
    try:
        spec = MarkSpec.from_entry(name, entry)
    except DataError as error:
        scan.problems.append(error.message)
        return scan
    if any(key in entry for key in REMOTE):
        _trust(scan, spec, f'data set "{name}"')
        return scan
    file_name = entry.get("file_name")
    if not isinstance(file_name, str) or not file_name:
        scan.problems.append(f'{folder / DATASET_INFO}, entry "{name}": no "file_name"; name the data file')
        return scan
    path = folder / file_name
    if path.is_dir():
        files = sorted(path.iterdir())
        if not files:
            scan.problems.append(f'data set "{name}": {path} is a folder without files; put the data there')
        for file in files:
            _scan_file(file, entry, spec, scan)
    elif path.is_file():
        _scan_file(path, entry, spec, scan)
    else:
        made = f"; make it with: llamafactory-ext data convert {name} --source ... --out {folder}"
        scan.problems.append(
            f'data set "{name}": {path} does not exist'
            + (made if name in FAMILIES and file_name == f"{name}.json" else '; check "file_name" and dataset_dir')
        )
    return scan


def _trust(scan: Scan, spec: MarkSpec, where: str) -> None:
    """Take the entry's word where the examples cannot be seen."""
    if not spec.states_marks:
        scan.problems.append(f"{where}: {spec.problem({})}")
    elif spec.mark is not None and spec.mark_column is None:
        scan.marks[spec.mark] += 1
    else:
        scan.unknown = True


def _scan_file(path: Path, entry: Mapping[str, Any], spec: MarkSpec, scan: Scan) -> None:
    if path.suffix in _OTHER_FORMATS:
        _trust(scan, spec, str(path))
        return
    if path.suffix not in _JSON:
        scan.problems.append(f"{path}: upstream reads {', '.join((*_JSON, *_OTHER_FORMATS))} only; convert the file")
        return
    if not spec.states_marks:
        scan.problems.append(f"{path}: {spec.problem({})}")
        return
    shape = Shape.of(entry)
    scan.problems += [f"{path}: {problem}" for problem in shape.problems]
    formatting = entry.get("formatting", "alpaca")
    if formatting not in FORMATTINGS:
        scan.problems.append(f'{path}: its "formatting" is {formatting!r}; write {", ".join(FORMATTINGS)}')
    elif not shape.problems:
        _scan_records(path, DataEntry(path.stem, path, entry, shape, spec), scan)


def _scan_records(path: Path, entry: DataEntry, scan: Scan) -> None:
    """Gather equal faults of many records into one line, with the first places and the number."""
    problems, remarks = Faults(path, _SHOWN_FAULTS), Faults(path, _SHOWN_FAULTS)
    try:
        for place, record in iter_records(path):
            fault, mark = _judge(record, entry)
            if mark:
                scan.marks[mark] += 1
            if fault:
                (remarks if fault == EMPTY_RESPONSE else problems).add(place, fault)
    except DataError as error:
        scan.problems.append(error.message)
    scan.problems += problems.lines()
    scan.remarks += remarks.lines()


def _judge(record: Any, entry: DataEntry) -> tuple[str, str]:
    """Return (what is wrong with the record, its mark); each may be empty."""
    dialogue = entry.dialogue(record)
    if isinstance(dialogue, str):
        return dialogue, ""
    try:
        mark, _ = entry.marks.resolve(record)
    except DataError as error:
        return error.message, ""
    return entry.shape.remark(record) or "", mark


def _missing_marks(scans: Iterable[Scan]) -> list[str]:
    marks = Counter[str]()
    for scan in scans:
        if scan.unknown:
            return []
        marks += scan.marks
    steps = {
        "tool": 'add tool data (for example "api_bank", see: llamafactory-ext data convert --help) to "dataset"',
        "general": 'add general data (mathematics, code, facts, instructions) to "dataset"',
    }
    return [f'no example is marked "{mark}"; {steps[mark]}' for mark in MARKS if not marks[mark]]
