"""The results as tables: on the terminal, and in README.md between two marks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from measure import Figure, Row
from rich import box
from rich.table import Table

BEGIN, END = "<!-- results -->", "<!-- end of results -->"
VERDICTS = {True: "met", False: "missed", None: ""}


def as_rich(rows: Iterable[Row]) -> Table:
    """One table for the rows given."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("row", "figure", "goal", "value", "quartiles", ""):
        table.add_column(name, justify="right" if name in ("goal", "value") else "left")
    for row in rows:
        table.add_row(row.number, f"[bold]{row.title}[/bold]", "", "", "", "")
        for figure in row.figures:
            style = "red" if figure.met is False else None
            table.add_row("", figure.name, *_cells(figure), style=style)
    return table


def write_into(readme: Path, data: dict[str, Any]) -> None:
    """Puts the results in place of what stands between the marks."""
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{BEGIN}\n{as_markdown(data)}{END}{after}", encoding="utf-8")


def as_markdown(data: dict[str, Any]) -> str:
    """The results file as a table, with machine and versions above."""
    machine = data["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    lines = [
        f"{data['date']}, {machine['device']}, {machine['threads']} thread(s), {data['seconds']} s; {versions}.",
        "",
        "| row | figure | goal | value | quartiles | |",
        "|---|---|---|---|---|---|",
    ]
    for row in data["rows"]:
        lines.append(f"| {row['number']} | **{row['title']}** | | | | |")
        for entry in row["figures"]:
            figure = Figure(**{name: value for name, value in entry.items() if name != "met"})
            lines.append(f"| | {figure.name} | {' | '.join(_cells(figure))} |")
    return "\n".join(lines) + "\n"


def _cells(figure: Figure) -> tuple[str, str, str, str]:
    """Goal, value, quartiles, verdict."""
    goal = "" if figure.goal is None else f"<= {_number(figure.goal)}"
    spread = "" if figure.low is None else f"{_number(figure.low)} - {_number(figure.high)}, n={figure.rounds}"
    unit = "" if figure.unit in ("ratio", "relative error", "share") else f" {figure.unit}"
    return goal, _number(figure.value) + unit, spread, VERDICTS[figure.met]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.3f}" if abs(value) < 10 else f"{value:.0f}"
