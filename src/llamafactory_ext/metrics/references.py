"""The published test files, item by item, under ids that inference and scoring share.

| benchmark | files (a folder, or one of them) | id of an item |
|---|---|---|
| api_bank | level-{1,2}-{api,response}.json, level-3-batch-inf[-response].json | level-1-api:0 (file, place in it) |
| toolalpaca | eval_real.json | Nager.Date:0 (API, place among its instructions) |
| rotbench | {clean,slight,medium,heavy,union}.json | slight:0; third-slight:0 of the third turn |
| bfcl | BFCL_v3_exec_*.json | as published: exec_simple_0 |
| bfcl_ast | BFCL_v3_{simple,multiple,parallel,parallel_multiple}.json and possible_answer/ | as published |
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
    """The items of a benchmark and the hash of the files they come from."""

    benchmark: str
    items: tuple[Item, ...]
    sha256: str
    files: tuple[Path, ...]


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


def _bfcl(path: Path, required: Required) -> Iterator[Item]:
    for _, record in _records(path, required):
        yield Item(str(record["id"]), _stem(path).removeprefix("BFCL_v3_"), record)


def _bfcl_ast(path: Path, required: Required) -> Iterator[Item]:
    answers_path = path.parent / "possible_answer" / path.name
    answers = {
        str(answer["id"]): answer["ground_truth"]
        for _, answer in _records(answers_path, {"id": str, "ground_truth": list})
    }
    for item in _bfcl(path, required):
        if item.id not in answers:
            raise DataError(f"{answers_path} has no answer for {item.id}; get both files of one version.")
        yield Item(item.id, item.group, {**item.record, "possible_answer": answers[item.id]})


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
        r"BFCL_v3_exec_\w+\.json", _bfcl, {"id": str, "question": list, "function": list, "ground_truth": list}
    ),
    "bfcl_ast": _Source(
        r"BFCL_v3_(?:simple|multiple|parallel|parallel_multiple)\.json",
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
    items: dict[str, Item] = {}
    digest = hashlib.sha256()
    for file in files:
        for item in source.items(file, source.required):
            if items.setdefault(item.id, item) is not item:
                raise DataError(f"{file}: the id {item.id!r} occurs twice; name one of the files.")
        for hashed in (file, file.parent / "possible_answer" / file.name):
            if hashed.is_file():
                digest.update(f"{hashed.name}\n{hashlib.sha256(hashed.read_bytes()).hexdigest()}\n".encode())
    return References(benchmark, tuple(items.values()), digest.hexdigest(), files)


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
