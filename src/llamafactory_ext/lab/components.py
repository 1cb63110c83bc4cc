"""`llamafactory-ext analyse components`: top, down or random 20 % of the components trained on the tiny model.

Experiment 3 of CITI's paper (arXiv:2409.13202, section 2, Tables 2 and 7): the most important components for tool use,
the least important ones, or random ones, each with LoRA or tuned in full, on tool and general data.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import IO, Any

from rich.console import Console

from ..checkpoint.own import as_json, claim_plain, own_file, own_text
from ..errors import DataError
from .demo import NEEDED, check_there
from .jobs import Row, Setting, files_of, run_side_by_side
from .methods import PACKAGE_ROOT, SHIPPED_MODEL, Method
from .place import held, row_in
from .scoring import MISTAKES
from .table import keep_row, row_figures
from .table_files import claim_table
from .table_rows import FIRST_SEED

FILES, ROWS_FOLDER = ("components.json", "components.png"), "components"
# Rank and scale of LoRA are the paper's (A.5); rates are those of lora_tiny.yaml and full_tiny.yaml.
_ADAPTERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "lora": ("LoRA", ("citi_rank=32", "citi_alpha=32", "citi_mi_lr=1e-3")),
    "full": ("full", ("~citi_alpha", "citi_mi_lr=3e-4")),
}
_SELECTIONS = {"bottom": "down", "random": "random", "top": "top"}
_COMMON = ("citi_phases=mi", "citi_mi_epochs=4", "citi_report_samples=0")
ROWS = tuple(
    Method(
        f"{adapter}_{selection}",
        f"{label}, {word}",
        "citi_tiny.yaml",
        resumes=True,
        options=(*_COMMON, f"citi_adapter={adapter}", f"citi_select={selection}", *options),
    )
    for adapter, (label, options) in _ADAPTERS.items()
    for selection, word in _SELECTIONS.items()
)


def run_of(method: Method, seed: int) -> Method:
    """Return one training of a row."""
    return replace(
        method,
        name=f"{method.name}-{seed}",
        label=f"{method.label}, seed {seed}",
        options=(*method.options, f"seed={seed}"),
    )


def components(
    out: Path,
    seeds: int = 1,
    limit: int = 400,
    minutes: float = 0,
    root: Path = PACKAGE_ROOT,
    workers: int | None = None,
) -> dict[str, Any]:
    """Train what is not there yet of six rows, and write ``components.json`` and ``components.png`` into `out`.

    Args:
        out: folder of the result; the JSON of each run goes to ``out/components`` as soon as it ends.
        seeds: trainings of each row.
        limit: held-out items per set.
        minutes: no further run is begun after so many minutes; 0 sets no end.
        root: the repository, whose examples/, data/ and docs/components are used.
        workers: runs at a time; None takes one per core.

    Raises:
        OptionError: a file in `out` is somebody's.
        DataError: if the examples or the data are not there.
        UpstreamError: a training failed; what was finished is kept.
    """
    check_there(root, NEEDED)
    claim_plain(out)
    known = claim_table(out, FILES, ("rows", "mistakes"))
    runs, rows_folder, console = (out / "runs").resolve(), out / ROWS_FOLDER, Console()
    order = [run_of(method, FIRST_SEED + seed) for seed in range(seeds) for method in ROWS]
    for one in order:
        row_in(rows_folder / f"{one.name}.json")  # somebody's file there is named before hours are spent
    setting = Setting(
        root,
        runs,
        limit,
        Event(),
        kept=(rows_folder.resolve(), root / "docs" / ROWS_FOLDER),
        until=time.monotonic() + 60 * minutes if minutes else math.inf,
        keep=lambda row: keep_row(row, rows_folder),
    )
    with held(runs, files_of(order)):
        rows_folder.mkdir(parents=True, exist_ok=True)
        console.print(f"{len(order)} runs, {workers or os.cpu_count()} at a time, 2 to 4 minutes each. Logs: {runs}")
        done = run_side_by_side(order, setting, workers, console)
    found = summary(done, seeds)
    own_text(out / FILES[0], as_json(found), known)
    if found["rows"]:
        with own_file(out / FILES[1], known) as staged, staged.open("wb") as picture:
            draw(found, picture)
    console.print(f"Written: {', '.join(str(out / name) for name in (FILES if found['rows'] else FILES[:1]))}")
    return found


def summary(done: Sequence[Row], seeds: int) -> dict[str, Any]:
    """Return the content of components.json: a row per selection, and its wrong calls by category.

    Args:
        done: the runs that are there.
        seeds: trainings that each row should have.
    """
    rows, missing = [], {}
    for method in ROWS:
        mine = [row for row in done if row["name"].rpartition("-")[0] == method.name]
        if len(mine) < seeds:
            missing[method.name] = seeds - len(mine)
        if mine:
            rows.append({**row_figures(method.name, mine), "mistakes": _mistakes(mine)})
    return {
        "base": SHIPPED_MODEL.name,
        "unit": "per cent, exact match; se over the seeds, with one seed over the items; mistakes of all tool items",
        "mistakes": list(MISTAKES),
        "rows": rows,
        "missing": missing,
    }


def _mistakes(mine: Sequence[Row]) -> dict[str, int]:
    """Return the counts of each category over seen and unseen tools and all seeds, with the right calls."""
    sets = [row["scores"][name] for row in mine for name in ("tool_seen", "tool_unseen")]
    try:
        counts = {name: sum(int(one["mistakes"][name]) for one in sets) for name in MISTAKES}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"A result of {mine[0]['label']} has no categories of wrong calls ({error!r}); remove its JSON."
        ) from None
    return {**counts, "right": sum(one["right"] for one in sets)}


def draw(found: Mapping[str, Any], file: IO[bytes]) -> None:
    """Draw the rows: right calls and general abilities on the left, wrong calls by category on the right."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    rows = found["rows"][::-1]
    labels = [row["label"] for row in rows]
    figure, (shares, wrong) = pyplot.subplots(1, 2, figsize=(11, 4), dpi=150, sharey=True)
    for shift, key, colour in ((0.2, "tools", "#d5693c"), (-0.2, "general", "#6b8fb5")):
        shares.barh(
            [place + shift for place in range(len(rows))],
            [row[key]["mean"] for row in rows],
            0.38,
            xerr=[row[key]["se"] for row in rows],
            color=colour,
            label="tool calls" if key == "tools" else "general abilities",
            error_kw={"ecolor": "#444444"},
        )
    shares.set_yticks(range(len(rows)), labels)
    shares.set_xlabel("exact match, %")
    left = [0.0] * len(rows)
    for index, name in enumerate(found["mistakes"]):
        totals = [sum(row["mistakes"].values()) for row in rows]
        widths = [100 * row["mistakes"][name] / total for row, total in zip(rows, totals, strict=True)]
        wrong.barh(range(len(rows)), widths, 0.6, left=left, label=name, color=f"C{index}")
        left = [one + width for one, width in zip(left, widths, strict=True)]
    wrong.set_xlabel("wrong calls, % of all")
    for panel in (shares, wrong):
        panel.grid(axis="x", alpha=0.25)
        panel.set_axisbelow(True)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
        panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncol=2, frameon=False, fontsize=8)
    figure.savefig(file, bbox_inches="tight")
    pyplot.close(figure)
