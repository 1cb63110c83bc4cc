"""Pictures of the report: a radar over a table's columns, and bars of several tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import IO, Final

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from ..figures.run import save
from .runs import Run
from .tables import LESS_IS_BETTER, MEAN, Row, Table, heading

PAPER: Final = ("#8d99ae", "#b8a07e", "#7da0a5", "#c2b5d1", "#9aa77a")
OURS: Final = ("#d1495b", "#2e6f95", "#edae49", "#3d8b5f", "#7b4fa3")
_LEAST_AXES = 3


def chosen_rows(table: Table, group: str) -> list[Row]:
    """Return the paper's rows that stand beside ours in pictures: one model family, or its last row."""
    paper = [row for row in table.rows if not row.is_ours]
    if any(row.group for row in paper):
        return [row for row in paper if row.group == group]
    return paper[-1:]


def colours_of(runs: Sequence[Run]) -> dict[str, str]:
    """Return one colour for each run in all pictures, by its label."""
    return dict(zip((run.label for run in runs), cycle(OURS), strict=False))


def radar(table: Table, group: str, colours: Mapping[str, str], path: Path | IO[bytes]) -> None:
    """Draw each row as a polygon over the table's columns; where a run has no figure its line is broken."""
    columns = [place for place, column in enumerate(table.columns) if column != MEAN]
    assert len(columns) >= _LEAST_AXES
    angles = np.linspace(0, 2 * np.pi, len(columns), endpoint=False)
    figure, axis = plt.subplots(figsize=(7.2, 6.4), subplot_kw={"projection": "polar"}, layout="constrained")
    for row, colour in _coloured(table, group, colours):
        # Less is better there, and outwards means better everywhere.
        values = [_outwards(row.values[place], table.columns[place]) for place in columns]
        closed = np.array([*values, values[0]], dtype=float)
        style = {"lw": 2.2, "marker": "o"} if row.is_ours else {"lw": 1.3, "ls": "--"}
        axis.plot([*angles, angles[0]], closed, color=colour, label=_label(row), **style)
        if not np.isnan(closed).any():
            axis.fill([*angles, angles[0]], closed, color=colour, alpha=0.12 if row.is_ours else 0.03)
    labels = [heading(table.columns[place]).replace("↓", "(100 − x)").replace(" ", "\n", 1) for place in columns]
    axis.set_xticks(angles, labels)
    axis.tick_params(axis="x", pad=10)
    axis.set_ylim(0, 100)
    axis.set_yticks([25, 50, 75, 100])
    axis.set_rlabel_position(180 / len(columns))
    axis.grid(alpha=0.35)
    axis.set_title(f"{table.title} ({table.source})", fontsize=10, pad=18)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    save(figure, path)


def bars(tables: Sequence[Table], group: str, colours: Mapping[str, str], path: Path | IO[bytes]) -> None:
    """Draw one panel for each table: bars by column, ours with one standard error, partial ones hatched."""
    figure, axes = plt.subplots(
        len(tables), 1, figsize=(10, 1 + 3.1 * len(tables)), layout="constrained", squeeze=False
    )
    for axis, table in zip(axes[:, 0], tables, strict=True):
        _bars(axis, table, group, colours)
    save(figure, path)


def _bars(axis: Axes, table: Table, group: str, colours: Mapping[str, str]) -> None:
    rows = _coloured(table, group, colours)
    width = 0.82 / len(rows)
    for number, (row, colour) in enumerate(rows):
        for place, value in enumerate(row.values):
            if value is None:
                continue
            cell = row.cells[place] if row.is_ours else None
            x = place - 0.41 + (number + 0.5) * width
            error = cell.standard_error if cell is not None else None
            axis.bar(
                x,
                value,
                width * 0.94,
                color=colour,
                alpha=1 if row.is_ours else 0.75,
                hatch="///" if cell is not None and cell.partial else None,
                edgecolor="white",
                linewidth=0.4,
                yerr=error,
                ecolor="#333333",
                capsize=2,
            )
    for row, colour in rows:
        axis.bar(0, 0, color=colour, label=_label(row))
    axis.set_xticks(range(len(table.columns)), [heading(column).replace(" ", "\n", 1) for column in table.columns])
    axis.set_ylim(0, 100)
    axis.set_ylabel("%")
    axis.grid(axis="y", alpha=0.25)
    axis.set_axisbelow(True)
    axis.set_title(f"{table.title} ({table.source})", loc="left", fontsize=10)
    axis.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _coloured(table: Table, group: str, colours: Mapping[str, str]) -> list[tuple[Row, str]]:
    paper = zip(chosen_rows(table, group), cycle(PAPER), strict=False)
    return [*paper, *((row, colours[row.name]) for row in table.ours)]


def _outwards(value: float | None, column: str) -> float:
    if value is None:
        return float("nan")
    return 100 - value if column in LESS_IS_BETTER else value


def _label(row: Row) -> str:
    partial = ", partial" if any(cell is not None and cell.partial for cell in row.cells) else ""
    if row.is_ours:
        return row.name + partial
    return f"paper: {row.group} {row.name}" if row.group else f"paper: {row.name}"
