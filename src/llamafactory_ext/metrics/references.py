"""The published test files, item by item, under ids that inference and scoring share.

| benchmark | files (a folder, or one of them) | id of an item |
|---|---|---|
| api_bank | level-{1,2}-{api,response}.json, level-3-batch-inf[-response].json | level-1-api:0 (file, place in it) |
| toolalpaca | eval_real.json | Nager.Date:0 (API, place among its instructions) |
| rotbench | {clean,slight,medium,heavy,union}.json | slight:0; third-slight:0 of the third turn |
| bfcl | BFCL_v{3,4}_exec_{simple,multiple,parallel,parallel_multiple}.json | as published: exec_simple_0 |
| bfcl_ast | BFCL_v{3,4}_[live_]{simple,multiple,parallel,parallel_multiple}.json (v4: simple_python) with \
possible_answer/, and BFCL_v{3,4}_[live_]{irrelevance,relevance}.json | as published |
| tooleyes | scenario_data_zero_processed.json | tooleyes:0 |
| gsm8k | test.jsonl | test:0 |
| humaneval | HumanEval.jsonl[.gz] | as published: HumanEval/0 |
| triviaqa | *.jsonl with "question" and a list "answer" | FILE:0 |
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.files.reading import iter_records
from ..data.public.bfcl_files import (
    CHECKED,
    DETECTION,
    EXECUTABLE,
    answers_path,
    category_of,
    paired_answers,
    refusal,
    version_of,
)
from ..errors import DataError, OptionError


@dataclass(frozen=True)
class Item:
    """One item of a benchmark.

    Attributes:
        id: under which predictions name it.
        group: the part of the benchmark it belongs to: its level, noise level or category.
        record: as published; a BFCL record of the AST split has its "possible_answer", a ToolAlpaca item its API under
            "api", with "index", "instruction" and "golden_answer".
    """

    id: str
    group: str
    record: Mapping[str, Any]


@dataclass(frozen=True)
class References:
    """The items of a benchmark and the hash of the files they come from; notes say what was left out."""

    benchmark: str
    items: tuple[Item, ...]
    sha256: str
    files: tuple[Path, ...]
    notes: tuple[str, ...] = ()


Required = Mapping[str, type]  # keys and the types of their values


@dataclass(frozen=True)
class _Source:
    """Where a benchmark's items come from.

    Attributes:
        pattern: of the files' names.
        folders: below a given folder in which they may lie; the first that has some counts.
        items: the items of one file.
        required: what a record must have to be of this benchmark.
    """

    pattern: str
    items: Callable[[Path, Required], Iterator[Item]]
    required: Required
    folders: tuple[str, ...] = (".",)


def _stem(path: Path) -> str:
    return path.name.partition(".")[0]


def _records(path: Path, required: Required) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for place, record in iter_records(path):
        if not isinstance(record, dict):
            raise DataError(f"{path}, {place}: no JSON object; this is no file of the benchmark.")
        for key, kind in required.items():
            if not isinstance(record.get(key), kind):
                raise DataError(
                    f"{path}, {place}: {key!r} is missing or no {_KINDS[kind]}; this is no file of the benchmark, or "
                    "a changed one. Get the published file."
                )
        yield place, record


_KINDS: Mapping[type, str] = {str: "text", list: "list", dict: "object"}


def _numbered(path: Path, required: Required) -> Iterator[Item]:
    for number, (_, record) in enumerate(_records(path, required)):
        yield Item(f"{_stem(path)}:{number}", _stem(path), record)


def _rotbench(path: Path, required: Required) -> Iterator[Item]:
    """Both turns have files of the same names: what the model has said before tells them apart."""
    for number, (_, record) in enumerate(_records(path, required)):
        group = rotbench_prefix(record) + _stem(path)
        yield Item(f"{group}:{number}", group, record)


def rotbench_prefix(record: Mapping[str, Any]) -> str:
    """Return what begins ids and group of a record of RoTBench: "third-" for the third turn, "" for the first."""
    turns = record["conversations"]
    said = sum(isinstance(turn, Mapping) and turn.get("from") == "assistant" for turn in turns)
    return "third-" if said > 1 else ""


def _tooleyes(path: Path, required: Required) -> Iterator[Item]:
    for number, (_, record) in enumerate(_records(path, required)):
        yield Item(f"tooleyes:{number}", str(record["scenario"]), record)


def _humaneval(path: Path, required: Required) -> Iterator[Item]:
    for _, record in _records(path, required):
        yield Item(str(record["task_id"]), "", record)


def _bfcl_records(path: Path, required: Required, wanted: frozenset[str]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return a file's records under their places; an id that v3 gives twice gets "#2" the second time."""
    reason = refusal(path) if version_of(path) else None
    if reason is None and version_of(path) and category_of(path) not in wanted:
        other = "bfcl" if wanted is _AST else "bfcl_ast"
        reason = f"{path.name} belongs to the benchmark {other}; score it there."
    if reason is not None:
        raise DataError(f"{path}: {reason}")
    seen: dict[str, int] = {}
    found = []
    for place, record in _records(path, required):
        count = seen[record["id"]] = seen.get(record["id"], 0) + 1
        found.append((place, record if count == 1 else {**record, "id": f"{record['id']}#{count}"}))
    return found


def _with_answers(
    path: Path, records: list[tuple[str, Mapping[str, Any]]], key: str
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the records with their answers under `key`."""
    answers_file = answers_path(path) or path.parent / "possible_answer" / path.name
    answers = [answer for _, answer in _records(answers_file, {"id": str, "ground_truth": list})]
    found = paired_answers([record for _, record in records], answers)
    for (place, record), answer in zip(records, found, strict=True):
        if answer is None:
            raise DataError(
                f"{path}, {place}: {answers_file} has no answer for {record['id']}; get both files of one version."
            )
        yield place, {**record, key: answer}


def _bfcl(path: Path, required: Required) -> Iterator[Item]:
    """Yield the items of an executable file; since March 2025 its gold calls lie in a file of their own."""
    listed = _bfcl_records(path, required, EXECUTABLE)
    if answers_path(path) and not any("ground_truth" in record for _, record in listed):
        listed = list(_with_answers(path, listed, "ground_truth"))
    for place, record in listed:
        if not isinstance(record.get("ground_truth"), list):
            raise DataError(
                f"{path}, {place}: 'ground_truth' is missing or no list; this is no executable file of BFCL, or its "
                "possible_answer/ is missing. Get the published files."
            )
        yield Item(str(record["id"]), category_of(path), record)


def _bfcl_ast(path: Path, required: Required) -> Iterator[Item]:
    records = _bfcl_records(path, required, _AST)
    detects = category_of(path) in DETECTION
    for _, record in records if detects else _with_answers(path, records, "possible_answer"):
        yield Item(str(record["id"]), category_of(path), record)


def _toolalpaca(path: Path, required: Required) -> Iterator[Item]:
    for place, api in _records(path, required):
        if len(api["Instructions"]) != len(api["Golden_Answers"]):
            raise DataError(f"{path}, {place}: Instructions and Golden_Answers differ in number; get the file again.")
        if not all(_is_gold(gold) for gold in api["Golden_Answers"]):
            raise DataError(f"{path}, {place}: a gold step lacks Action or Action_Input; get the file again.")
        for index, (text, gold) in enumerate(zip(api["Instructions"], api["Golden_Answers"], strict=True)):
            record = {"api": api, "index": index, "instruction": text, "golden_answer": gold}
            yield Item(f"{api['Name']}:{index}", str(api["Name"]), record)


def _is_gold(gold: Any) -> bool:
    return isinstance(gold, list) and all(isinstance(step, dict) and step.keys() >= _STEP_KEYS for step in gold)


_STEP_KEYS = {"Action", "Action_Input"}
_AST = CHECKED | DETECTION
_SOURCES = {
    "api_bank": _Source(
        r"level-(?:[12]-(?:api|response)|3-batch-inf(?:-response)?)\.json",
        _numbered,
        {"instruction": str, "input": str},
        (".", "test-data"),
    ),
    "toolalpaca": _Source(
        r"eval_(?:real|simulated)\.json",
        _toolalpaca,
        {"Name": str, "Instructions": list, "Golden_Answers": list, "NLDocumentation": str},
    ),
    "rotbench": _Source(
        r"(?:clean|slight|medium|heavy|union)\.json",
        _rotbench,
        {"conversations": list, "scenario": str},
        (".", "First_Turn"),
    ),
    "bfcl": _Source(
        rf"BFCL_v[34]_(?:{'|'.join(sorted(EXECUTABLE))})\.json",
        _bfcl,
        {"id": str, "question": list, "function": list},
    ),
    "bfcl_ast": _Source(
        rf"BFCL_v[34]_(?:{'|'.join(sorted(_AST))})\.json",
        _bfcl_ast,
        {"id": str, "question": list, "function": list},
    ),
    "tooleyes": _Source(
        r"scenario_data_zero_processed\.json", _tooleyes, {"conversations": list, "path": str, "scenario": str}
    ),
    "gsm8k": _Source(r"test\.jsonl", _numbered, {"question": str, "answer": str}),
    "humaneval": _Source(
        r"HumanEval\.jsonl(?:\.gz)?",
        _humaneval,
        dict.fromkeys(("task_id", "prompt", "entry_point", "test", "canonical_solution"), str),
    ),
    "triviaqa": _Source(r".+\.jsonl", _numbered, {"question": str, "answer": list}),
}
BENCHMARKS = tuple(_SOURCES)
_DEFAULT_FILES = {"toolalpaca": "eval_real.json"}


def read_references(benchmark: str, path: Path) -> References:
    """All items of a benchmark.

    Args:
        benchmark: one of `BENCHMARKS`.
        path: the folder with its published files, or one of these files.

    Raises:
        OptionError: no such benchmark.
        DataError: files missing or not of this benchmark.
    """
    if benchmark not in _SOURCES:
        raise OptionError(f"There is no benchmark {benchmark!r}; choose one of {', '.join(BENCHMARKS)}.")
    source = _SOURCES[benchmark]
    files = _files(benchmark, source, path)
    versions = sorted({version_of(file) for file in files} - {""})
    if len(versions) > 1:
        raise DataError(
            f"{path} holds files of BFCL {' and '.join(versions)}; name a folder or a file of one version."
        )
    items: dict[str, Item] = {}
    digest = hashlib.sha256()
    for file in files:
        for item in source.items(file, source.required):
            if items.setdefault(item.id, item) is not item:
                raise DataError(f"{file}: the id {item.id!r} occurs twice; name one of the files.")
        for hashed in (file, answers_path(file)):
            if hashed is not None and hashed.is_file():
                digest.update(f"{hashed.name}\n{hashlib.sha256(hashed.read_bytes()).hexdigest()}\n".encode())
    return References(benchmark, tuple(items.values()), digest.hexdigest(), files, _left_out(files, path))


def _left_out(files: tuple[Path, ...], path: Path) -> tuple[str, ...]:
    """Name the files of BFCL in the folder that no scorer of ours reads."""
    if path.is_file() or not any(version_of(file) for file in files):
        return ()
    found = sorted(file for file in files[0].parent.glob("BFCL_*.json") if version_of(file) and refusal(file))
    names = ", ".join(category_of(file) for file in found)
    return (f"Files of the folder that are not scored here: {names}.",) if names else ()


def _files(benchmark: str, source: _Source, path: Path) -> tuple[Path, ...]:
    if not path.exists():
        raise DataError(f"{path}: there are no references here; name the folder with {benchmark}'s published files.")
    if path.is_file():
        return (path,)
    for folder in source.folders:
        inside = path / folder
        found = sorted(file for file in inside.glob("*") if re.fullmatch(source.pattern, file.name) and file.is_file())
        chosen = [file for file in found if file.name == _DEFAULT_FILES.get(benchmark, file.name)]
        if chosen or found:
            return tuple(chosen or found)
    raise DataError(f"{path} holds no file of {benchmark} ({source.pattern}); get the published files or name one.")
