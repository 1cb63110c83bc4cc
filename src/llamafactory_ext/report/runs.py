"""Runs as the report sees them: the score reports of one model, read, checked against each other, and arranged."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..benchmarks import benchmark_of
from ..errors import DataError, OptionError
from ..metrics.report import Report, read_report
from ..paths import exists, is_folder


@dataclass(frozen=True)
class Cell:
    """One figure of a run with all that it rests on.

    Attributes:
        value: in per cent.
        standard_error: in per cent; None where it is unknown.
        n: items it rests on.
        parse_failures: of them.
        partial: whether the run lacks items of the benchmark.
        report: where it stands.
    """

    value: float
    standard_error: float | None
    n: int
    parse_failures: int
    partial: bool
    report: Report

    def to_json(self) -> dict[str, Any]:
        """Return all of it, hashes included."""
        report = self.report
        return {
            "value": self.value,
            "standard_error": self.standard_error,
            "n": self.n,
            "parse_failures": self.parse_failures,
            "partial": self.partial,
            "mode": report.mode,
            "items_answered": report.n_predictions,
            "items": report.n_references,
            "predictions_sha256": report.predictions_sha256,
            "references_sha256": report.references_sha256,
            "model_hashes": list(report.model_hashes),
            "judge": dict(report.judge) if report.judge else None,
        }


@dataclass(frozen=True)
class Run:
    """The figures of one model in one mode.

    Attributes:
        name: of the model, as the user or the folder calls it.
        mode: of all figures.
        cells: by `benchmark/figure`.
        notes: of the reports, each with its benchmark.
    """

    name: str
    mode: str
    cells: Mapping[str, Cell]
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name and mode."""
        return f"{self.name} ({self.mode})"


@dataclass
class _Collected:
    cells: dict[str, Cell] = field(default_factory=dict)
    sources: dict[str, tuple[Path, Report]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_runs(words: Sequence[str]) -> list[Run]:
    """Return the runs that the user names: folders with score reports, or single reports, as PATH or NAME=PATH.

    Raises:
        OptionError: none, or two of one name.
        DataError: no reports there, damaged ones, or two different ones for the same figures.
    """
    if not words:
        raise OptionError(
            "report needs runs: llamafactory-ext report [NAME=]FOLDER ... with what `llamafactory-ext score` wrote"
        )
    runs: list[Run] = []
    names: set[str] = set()
    for word in words:
        name, path = _named(word)
        if name in names:
            raise OptionError(f'two runs are called "{name}"; name them: NAME=PATH')
        names.add(name)
        runs += _runs(name, _report_files(path))
    return runs


def _named(word: str) -> tuple[str, Path]:
    name, found, rest = word.partition("=")
    if found and not exists(Path(word)):
        return name, Path(rest)
    path = Path(word)
    return (path.resolve().name if is_folder(path) else path.stem.partition(".")[0]), path


def _report_files(path: Path) -> list[Path]:
    """Return the score reports at a place: one file, or those among a folder's JSON files."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"{path}: there is no run here; name a folder with score reports, or one report.")
    files = [file for file in sorted(path.rglob("*.json")) if _is_report(file)]
    if not files:
        raise DataError(
            f"{path} holds no score report; run `llamafactory-ext score BENCHMARK --predictions FILE ...`."
        )
    return files


def _is_report(path: Path) -> bool:
    """Tell whether a JSON file claims to be a score report.

    A damaged one that does is an error later, not overlooked.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        return True
    except (ValueError, RecursionError):
        return path.stem.endswith((".official", ".strict"))
    return isinstance(record, dict) and "figures" in record and "benchmark" in record


def _runs(name: str, files: Iterable[Path]) -> list[Run]:
    by_mode: dict[str, _Collected] = {}
    for path in files:
        report = read_report(path)
        collected = by_mode.setdefault(report.mode, _Collected())
        earlier = collected.sources.setdefault(report.name, (path, report))
        if earlier[0] != path:
            if earlier[1] != report:
                raise DataError(
                    f"{path} and {earlier[0]} are different {report.mode} reports on {report.name} in one run; "
                    "remove one, or name them as runs of their own: NAME=PATH."
                )
            continue
        collected.cells |= _cells(report)
        collected.notes += [f"{report.name}: {note}" for note in report.notes]
    return [Run(name, mode, found.cells, tuple(found.notes)) for mode, found in sorted(by_mode.items())]


def _cells(report: Report) -> dict[str, Cell]:
    """Return its figures by `benchmark/figure`; the published part takes the place of the whole where there is one."""
    row = benchmark_of(report.name)
    part = row.published_part if row is not None else ""
    suffix = f" ({part})"
    cells = {}
    for figure in report.figures:
        error = None if figure.standard_error is None else 100 * figure.standard_error
        cell = Cell(100 * figure.value, error, figure.n, figure.parse_failures, report.partial, report)
        cells[f"{report.name}/{figure.name}"] = cell
    for key in [key for key in cells if part and key.endswith(suffix)]:
        cells[key.removesuffix(suffix)] = cells[key]
    return cells
