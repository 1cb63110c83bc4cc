"""`llamafactory-ext report`: scores of our runs in the papers' tables, as Markdown, JSON, pictures and one page."""

from __future__ import annotations

from pathlib import Path

from ..checkpoint.own import claim, claim_plain, own_file, own_json, own_text
from ..errors import OptionError
from .figures import bars, colours_of, radar
from .runs import Run, read_runs
from .tables import GENERAL, MEAN, Table, beside, published
from .writing import html, markdown

GROUPS = ("Llama-3", "Phi-3", "Mistral")
FILES = ("report.md", "report.json", "report.html", "radar.png", "bars.png")


def report(*runs: str, out: str = "report", beside_model: str = "Llama-3") -> None:
    """Put runs beside the papers' figures.

    Args:
        runs: [NAME=]PATH of a folder with what `llamafactory-ext score` wrote, or of one such report.
        out: the folder of the result: report.md, report.json, report.html, radar.png, bars.png.
        beside_model: whose rows of the papers' tables stand beside ours in the pictures: Llama-3, Phi-3 or Mistral.
    """
    if beside_model not in GROUPS:
        raise OptionError(f'--beside_model is "{beside_model}"; choose one of {", ".join(GROUPS)}')
    words = [str(word) for word in runs]
    inputs = [Path(path) for word in words for path in (word, word.partition("=")[2]) if path]
    claim_plain(Path(str(out)))
    claim([Path(str(out)) / name for name in FILES], inputs=inputs)
    found = read_runs(words)
    print("\n".join(str(path) for path in write(found, Path(str(out)), beside_model)))


def write(runs: list[Run], folder: Path, group: str) -> list[Path]:
    """Write everything; return the files."""
    tables = [table for table in (beside(table, runs) for table in published()) if table.rows]
    pictures = _pictures(tables, runs, group, folder)
    own_json(folder / "report.json", {"tables": [table.to_json() for table in tables], "runs": _runs_json(runs)})
    own_text(folder / "report.md", markdown(tables, runs, pictures))
    own_text(folder / "report.html", html(tables, runs, pictures))
    return [folder / name for name in ("report.md", "report.json", "report.html")] + list(pictures.values())


def _pictures(tables: list[Table], runs: list[Run], group: str, folder: Path) -> dict[str, Path]:
    """Return the radar of the table that our runs fill best, and bars; none without a figure of the papers' tables.

    Ablations are left to the tables, and so is a table of which our runs have nothing but the general abilities, if
    another says more.
    """
    shown = [table for table in tables if table.ours and table.pictured]
    shown = [table for table in shown if _own_figures(table)] or shown
    if not shown:
        return {}
    fullest = max(shown, key=lambda table: sum(value is not None for row in table.ours for value in row.values))
    colours = colours_of(runs)
    with own_file(folder / "radar.png") as staged, staged.open("wb") as file:
        radar(fullest, group, colours, file)
    with own_file(folder / "bars.png") as staged, staged.open("wb") as file:
        bars(shown, group, colours, file)
    return {f"Radar: {fullest.title}": folder / "radar.png", "Bars": folder / "bars.png"}


def _own_figures(table: Table) -> bool:
    """Tell whether our runs have a figure of the table that is none of the general abilities."""
    places = [place for place, column in enumerate(table.columns) if column not in (*GENERAL, MEAN)]
    return any(row.values[place] is not None for row in table.ours for place in places)


def _runs_json(runs: list[Run]) -> list[dict[str, object]]:
    return [
        {
            "name": run.name,
            "mode": run.mode,
            "figures": {key: cell.to_json() for key, cell in run.cells.items()},
            "notes": list(run.notes),
        }
        for run in runs
    ]
