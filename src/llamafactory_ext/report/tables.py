"""The papers' tables with our runs as further rows. Pure: data in, data out.

A figure that is missing stays missing: nothing stands in for it, and a mean over several figures is formed only where
all of them are there and whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any, Final

from ..benchmarks import benchmarks
from .runs import Cell, Run

GENERAL: Final = ("gsm8k/GSM", "humaneval/HE", "triviaqa/TQA", "mt_bench/MT")
MEAN: Final = "general mean"
TITLES: Final = {**{row.name: row.title for row in benchmarks()}, "mt_bench": "MT-Bench"}
LESS_IS_BETTER: Final = tuple(f"{row.name}/{name}" for row in benchmarks() for name in row.lower_is_better)
NAMED: Final = (*(row.name for row in benchmarks() if row.named), "mt_bench")  # by a figure's name alone


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        name: the method or the run.
        group: the model family in the paper; empty for ours.
        values: in per cent, None where there is none; as many as columns.
        cells: what ours rest on; empty for the paper's.
    """

    name: str
    group: str
    values: tuple[float | None, ...]
    cells: tuple[Cell | None, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether it is a run, not a row of the paper."""
        return bool(self.cells)


@dataclass(frozen=True)
class Table:
    """A table of a paper and our rows below it.

    Attributes:
        id: short name.
        title: what it is about.
        source: paper and table number.
        columns: `benchmark/figure`; the last may be `MEAN`, which is ours in all rows.
        pictured: whether bars show it.
    """

    id: str
    title: str
    source: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    pictured: bool = False

    @property
    def ours(self) -> tuple[Row, ...]:
        """The rows that are runs."""
        return tuple(row for row in self.rows if row.is_ours)

    def to_json(self) -> dict[str, Any]:
        """Return all of it."""
        rows = []
        for row in self.rows:
            cells: dict[str, Any] = dict(zip(self.columns, row.values, strict=True))
            if row.is_ours:
                details = zip(self.columns, row.cells, strict=True)
                cells |= {column: cell.to_json() for column, cell in details if cell is not None}
            rows.append({"name": row.name, "group": row.group, "ours": row.is_ours, "figures": cells})
        return {"id": self.id, "title": self.title, "source": self.source, "columns": list(self.columns), "rows": rows}


def published() -> list[Table]:
    """Return the papers' tables, their figures as printed."""
    text = files(__package__).joinpath("papers.json").read_text(encoding="utf-8")
    return [_published(table) for table in json.loads(text)["tables"]]


def _published(table: Mapping[str, Any]) -> Table:
    columns = tuple(table["columns"])
    rows = tuple(Row(row["name"], row["group"], tuple(row["values"])) for row in table["rows"])
    return Table(table["id"], table["title"], table["source"], columns, rows, bool(table.get("pictured")))


def beside(table: Table, runs: Sequence[Run]) -> Table:
    """Return the table with a row for each run that has a figure for it, and the mean of the general abilities."""
    ours = [_row(table.columns, run) for run in runs]
    rows = [*table.rows, *(row for row in ours if any(cell is not None for cell in row.cells))]
    if not set(GENERAL) <= set(table.columns):
        return replace(table, rows=tuple(rows))
    places = [table.columns.index(column) for column in GENERAL]
    with_mean = tuple(
        Row(row.name, row.group, (*row.values, _mean(row, places)), (*row.cells, None) if row.is_ours else ())
        for row in rows
    )
    return replace(table, columns=(*table.columns, MEAN), rows=with_mean)


def _row(columns: Sequence[str], run: Run) -> Row:
    cells = tuple(run.cells.get(column) for column in columns)
    values = tuple(None if cell is None else cell.value for cell in cells)
    return Row(run.label, "", values, cells)


def _mean(row: Row, places: Sequence[int]) -> float | None:
    """Return the mean over the general abilities; None unless all are there and none is of a partial run."""
    values = [row.values[place] for place in places]
    is_partial = any(cell is not None and cell.partial for cell in (row.cells[place] for place in places if row.cells))
    known = [value for value in values if value is not None]
    return None if is_partial or len(known) < len(values) else sum(known) / len(known)


def heading(column: str) -> str:
    """Return the column as the papers call it: `TS (RoTBench)`, but `GSM` where the name says it all."""
    if column == MEAN:
        return MEAN
    benchmark, _, figure = column.partition("/")
    arrow = " ↓" if column in LESS_IS_BETTER else ""
    return figure + arrow if benchmark in NAMED else f"{figure} {TITLES.get(benchmark, benchmark)}"


def written(row: Row, place: int) -> str:
    """Return one figure as text: value, standard error, and what is wrong with it."""
    value = row.values[place]
    cell = row.cells[place] if row.is_ours else None
    if value is None:
        return "–"
    if cell is None:
        return f"{value:.2f}"
    error = "" if cell.standard_error is None else f" ± {cell.standard_error:.2f}"
    partial = f" (partial, {cell.report.n_predictions}/{cell.report.n_references})" if cell.partial else ""
    return f"{value:.2f}{error}{partial}"


DETAIL_COLUMNS: Final = (
    "run",
    "figure",
    "%",
    "± 1 s.e.",
    "n",
    "not parsed",
    "mode",
    "items",
    "predictions",
    "references",
    "model and settings",
    "judge",
)


def details(runs: Sequence[Run]) -> list[tuple[str, ...]]:
    """Return every figure of every run with all that it rests on, hashes cut to 12 digits."""
    lines: list[tuple[str, ...]] = []
    for run in runs:
        for key, cell in run.cells.items():
            report = cell.report
            items = f"{report.n_predictions} of {report.n_references}" + (" PARTIAL" if cell.partial else "")
            lines.append(
                (
                    run.name,
                    key,
                    f"{cell.value:.2f}",
                    "unknown" if cell.standard_error is None else f"{cell.standard_error:.2f}",
                    str(cell.n),
                    str(cell.parse_failures),
                    run.mode,
                    items,
                    report.predictions_sha256[:12],
                    report.references_sha256[:12],
                    ", ".join(value[:12] for value in report.model_hashes),
                    str(report.judge.get("model", "yes")) if report.judge else "",
                )
            )
    return lines
