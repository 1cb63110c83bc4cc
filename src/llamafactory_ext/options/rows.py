"""What is wrong with the rows of methods and benchmarks: one sentence each, for `doctor` and a test.

Names are looked up in the files that they point to; nothing heavy is imported for it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..benchmarks import Benchmark, benchmarks
from ..methods import Adapter, Method, Name, load, methods
from .fates.row import Column
from .fates.table import ROWS

_OPTIONS = ("finetuning_type", "stage")


def row_faults(rows: Sequence[Method] | None = None, tested: Sequence[Benchmark] | None = None) -> list[str]:
    """Return a sentence for each fault of the rows, with the row and the field.

    Args:
        rows: of methods; those of the package by default.
        tested: rows of benchmarks, likewise.
    """
    rows, tested = methods() if rows is None else rows, benchmarks() if tested is None else tested
    found = [*_twice("method", [row.name for row in rows]), *_twice("benchmark", [row.name for row in tested])]
    owners: dict[str, str] = {}
    for row in rows:
        found += [f"methods.py, row {row.name}: {fault}" for fault in _method_faults(row, rows, owners)]
    for one in tested:
        found += [f"benchmarks.py, row {one.name}: {fault}" for fault in _benchmark_faults(one)]
    return found


def _twice(kind: str, names: Sequence[str]) -> list[str]:
    return [
        f"two rows of a {kind} are called {name}; rename one" for name in dict.fromkeys(names) if names.count(name) > 1
    ]


def _method_faults(row: Method, rows: Sequence[Method], owners: dict[str, str]) -> Iterator[str]:
    if row.option not in _OPTIONS:
        yield f"option is {row.option!r}; it is one of {', '.join(_OPTIONS)}"
    missing = [*_missing(row), *(_missing(row.adapter) if row.adapter is not None else ())]
    yield from missing
    if row.adapter is not None and row.adapter.vllm:
        if fault := _fault(f"{row.adapter.vllm}:__getattr__"):
            yield f"vllm names {row.adapter.vllm}; {fault}, which would make its classes"
        if not row.adapter.prefix:
            yield "prefix is empty, and vllm is not; name what the exported classes begin with"
    yield from _unknown("replaces", row.replaces)
    yield from _unknown_methods(row, rows)
    if missing:  # what follows loads what the row names
        return
    yield from _option_faults(row, owners)
    column: Any = load(row.column) if row.column else Column()
    if not isinstance(column, Column):
        yield f"column names {row.column}, which is no Column"
        return
    for part in ("fates", "instead", "beside", "shows", "notes"):
        yield from _unknown(f"column, {part}", getattr(column, part))


def _unknown_methods(row: Method, rows: Sequence[Method]) -> Iterator[str]:
    known = {other.name for other in rows}
    for option, names in row.shared.items():
        for name in names:
            if name not in known:
                yield f"shared gives {option} to {name}, which is no method"


def _option_faults(row: Method, owners: dict[str, str]) -> Iterator[str]:
    """Return options without help or rule, rules without an option, and options that two rows declare."""
    arguments, rules = load(row.arguments), load(row.rules)
    declared = {option.name: option for option in fields(arguments)}
    for name, option in declared.items():
        if not option.metadata.get("help"):
            yield f"option {name} has no help; give its field metadata with one"
        if name not in rules:
            yield f"option {name} has no rule; add it to {row.rules}"
        if owners.setdefault(name, row.name) != row.name:
            yield f"option {name} is declared by {owners[name]} too; rename one"
    for name in rules.keys() - declared.keys():
        yield f"{row.rules} has a rule for {name}, which {row.arguments} does not declare"
    for name in row.shared.keys() - declared.keys():
        yield f"shared names {name}, which {row.arguments} does not declare"


def _benchmark_faults(row: Benchmark) -> Iterator[str]:
    yield from _missing(row)
    if row.check:
        if both := [name for name in ("items", "score") if getattr(row, name)]:
            yield f"a row with check has neither items nor score; mend {', '.join(both)}"
        return
    if lacking := [name for name in ("files", "items", "required", "score") if not getattr(row, name)]:
        yield f"{', '.join(lacking)} is empty; fill it, or name check"
    if not row.question and not row.families and not row.act:
        yield "neither question nor families nor act says what a model is asked; name one"
    try:
        re.compile(row.files)
    except re.error as error:
        yield f"files is no pattern ({error}); mend it"


def _missing(row: Method | Adapter | Benchmark) -> Iterator[str]:
    """Return fields that name what does not exist."""
    for field in fields(row):
        value = getattr(row, field.name)
        for name in value if isinstance(value, tuple) else (value,):
            if isinstance(name, str) and _is_name(name) and (fault := _fault(name)):
                yield f"{field.name} names {name}; {fault}"


def _is_name(value: str) -> bool:
    """Tell whether a text stands for something to import: "module:attribute", or a module alone."""
    return bool(re.fullmatch(r"\w+(\.\w+)+(:\w+)?", value)) and (":" in value or value.startswith("llamafactory_ext."))


def _fault(name: Name) -> str | None:
    module, colon, attribute = name.partition(":")
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        return f"there is no module {module}"
    if colon and attribute not in _defined(Path(spec.origin)):
        return f"{module} defines no {attribute}"
    return None


def _defined(file: Path) -> set[str]:
    """Return the names that a file defines or imports at its top."""
    found: set[str] = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)}
    return found


def _unknown(what: str, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if name not in ROWS:
            yield f"{what} names {name}, which is no option of the table in options/fates/"
