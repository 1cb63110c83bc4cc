"""The published test files, item by item, under ids that inference and scoring share.

| benchmark | files (a folder, or one of them) | id of an item |
|---|---|---|
| api_bank | level-{1,2}-{api,response}.json, level-3-batch-inf[-response].json | level-1-api:0 (file, place in it) |
| toolalpaca | eval_real.json | Nager.Date:0 (API, place among its instructions) |
| rotbench | {clean,slight,medium,heavy,union}.json | slight:0; third-slight:0 of the third turn |
| bfcl | BFCL_v{3,4}_exec_{simple,multiple,parallel,parallel_multiple}.json | as published: exec_simple_0 |
| bfcl_ast | BFCL_v{3,4}_[live_]{simple,multiple,parallel,parallel_multiple}.json (v4: simple_python) with \
possible_answer/, and BFCL_v{3,4}_[live_]{irrelevance,relevance}.json | as published |
| bfcl_multi_turn | BFCL_v{3,4}_multi_turn_{base,miss_func,miss_param,long_context}.json with possible_answer/ | as \
published |
| tooleyes | scenario_data_zero_processed.json | tooleyes:0 |
| gsm8k | test.jsonl | test:0 |
| humaneval | HumanEval.jsonl[.gz] | as published: HumanEval/0 |
| triviaqa | *.jsonl with "question" and a list "answer" | FILE:0 |
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..benchmarks import Benchmark, benchmark_of, benchmarks, names
from ..data.files.reading import iter_records
from ..errors import DataError, OptionError
from ..methods import load


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
BENCHMARKS = tuple(row.name for row in benchmarks() if row.items)


def records(path: Path, required: Required, list_key: str | None = None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the records of a file with their places.

    Args:
        path: of the file.
        required: what each must have.
        list_key: under which an object holds their list.

    Raises:
        DataError: one lacks what this benchmark's have.
    """
    for place, record in iter_records(path, list_key):
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


def read_references(benchmark: str, path: Path) -> References:
    """Return all items of a benchmark.

    Args:
        benchmark: its name.
        path: the folder with its published files, or one of these files.

    Raises:
        OptionError: no such benchmark.
        DataError: files missing or not of this benchmark.
    """
    row = benchmark_of(benchmark)
    if row is None:
        raise OptionError(f"There is no benchmark {benchmark!r}; choose one of {', '.join(names())}.")
    if not row.items:
        raise OptionError(
            f"{benchmark} has no items that are asked one by one; docs/evaluation.md says how an agent acts in it."
        )
    files = _files(row, path)
    notes: tuple[str, ...] = load(row.check_files)(files, path) if row.check_files else ()
    read, beside = load(row.items), load(row.beside) if row.beside else None
    items: dict[str, Item] = {}
    digest = hashlib.sha256()
    for file in files:
        for item in read(file, row.required):
            if items.setdefault(item.id, item) is not item:
                raise DataError(f"{file}: the id {item.id!r} occurs twice; name one of the files.")
        for hashed in (file, beside(file) if beside else None):
            if hashed is not None and hashed.is_file():
                digest.update(f"{hashed.name}\n{hashlib.sha256(hashed.read_bytes()).hexdigest()}\n".encode())
    return References(benchmark, tuple(items.values()), digest.hexdigest(), files, notes)


def _files(row: Benchmark, path: Path) -> tuple[Path, ...]:
    if not path.exists():
        raise DataError(f"{path}: there are no references here; name the folder with {row.name}'s published files.")
    if path.is_file():
        return (path,)
    for folder in row.folders:
        inside = path / folder
        found = sorted(file for file in inside.glob("*") if re.fullmatch(row.files, file.name) and file.is_file())
        chosen = [file for file in found if file.name == (row.default_file or file.name)]
        if chosen or found:
            return tuple(chosen or found)
    raise DataError(f"{path} holds no file of {row.name} ({row.files}); get the published files or name one.")
