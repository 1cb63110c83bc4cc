"""`llamafactory-ext lab table`: every method and ablation on the tiny model, several seeds, settings by equal trials.

Each finished trial and each finished seed is a JSON of its own with a hash of what it was made from. What lies in the
output folder, or in the repository's docs/lab, and was made from the same inputs is not run again.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

from rich.console import Console

from ..checkpoint.own import as_json, claim_plain, own_file, own_text, sha256
from ..errors import OptionError
from .demo import NEEDED, check_there
from .jobs import Row, Setting, files_of, run_side_by_side
from .methods import PACKAGE_ROOT, SHIPPED_MODEL
from .place import held, row_in
from .table_files import claim_table
from .table_page import draw_table, page
from .table_rows import (
    ABLATIONS,
    BASE,
    FIRST_SEED,
    NAMES,
    TUNED,
    run_of,
    settings_of,
    tools_of,
    trial,
    winner,
    worth,
)

ROWS_FOLDER, FILES = "lab", ("lab.json", "lab.md", "lab.png")
MEASURES = ("tool_seen", "tool_unseen", "math", "code", "facts", "instructions")


def check_names(names: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """Return the rows to run, in the order of the table's known ones.

    Raises:
        OptionError: there is no such row.
    """
    if unknown := [name for name in names or () if name not in known]:
        raise OptionError(f"--rows {','.join(unknown)}: the table has no such row; its rows are {', '.join(known)}")
    return [name for name in known if names is None or name in names]


def table(
    out: Path,
    seeds: int = 3,
    limit: int = 400,
    trial_limit: int = 150,
    names: Sequence[str] | None = None,
    runs: Path | None = None,
    root: Path = PACKAGE_ROOT,
    workers: int | None = None,
    minutes: float = 0,
) -> dict[str, Any]:
    """Run what is not there yet of trials and seeds, and write ``lab.json``, ``lab.md`` and ``lab.png`` into `out`.

    Args:
        out: folder of the table; the JSON of each run goes to ``out/lab`` as soon as it ends.
        seeds: trainings of each row.
        limit: held-out items per set of the reported figures (the test half).
        trial_limit: the same of the trials (the validation half).
        names: rows to run; None runs all.
        runs: folder of what the trainings write; None takes ``out/runs``.
        root: the repository, whose examples/ and data/ are used.
        workers: runs at a time; None takes one per core.
        minutes: no further run is begun after so many minutes; 0 sets no end.

    Raises:
        OptionError: there is no such row.
        DataError: if the examples or the data are not there.
        UpstreamError: a training failed; what was finished is kept.
    """
    wanted = check_names(names, NAMES)
    check_there(root, NEEDED)
    claim_plain(out)
    known = claim_table(out, FILES, ("rows", "trials"), page)
    runs, rows_folder = (runs or out / "runs").resolve(), out / ROWS_FOLDER
    console, kept = Console(), (rows_folder.resolve(), root / "docs" / ROWS_FOLDER)
    until = time.monotonic() + 60 * minutes if minutes else math.inf
    setting = Setting(root, runs, limit, Event(), kept=kept, until=until, keep=lambda row: keep_row(row, rows_folder))
    tuned = [name for name in TUNED if name in wanted or (name == "citi" and set(wanted) & set(ABLATIONS))]
    trials = [trial(name, number) for name in tuned for number in range(len(TUNED[name].trials))]
    # Seed by seed, so that an interrupted table has whole rows of the first seeds.
    order = [(name, seed) for seed in range(seeds) for name in wanted if seed == 0 or name != BASE.name]
    first = {name: TUNED[name].trials[0] for name in tuned}
    every = [*trials, *(run_of(name, FIRST_SEED + seed, first) for name, seed in order)]
    for one in every:
        row_in(rows_folder / f"{one.name}.json")  # somebody's file there is named before hours are spent
    with held(runs, files_of(every), option="--runs"):
        rows_folder.mkdir(parents=True, exist_ok=True)
        many = len(every)
        console.print(f"{many} runs, {workers or os.cpu_count()} at a time, 2 to 4 minutes each. Logs: {runs}")
        tried = run_side_by_side(trials, replace(setting, limit=trial_limit, half="validation"), workers, console)
        of = trials_by_name(tuned, tried)
        chosen = {name: winner(name, whole) for name, rows in of.items() if (whole := _whole(rows))}
        ready = [(name, seed) for name, seed in order if name == BASE.name or settings_of(name) in chosen]
        done = run_side_by_side(
            [run_of(name, FIRST_SEED + seed, chosen) for name, seed in ready], setting, workers, console
        )
    found = summary(wanted, seeds, done, of)
    data, text, picture = (out / name for name in FILES)
    own_text(data, as_json(found), known)
    own_text(text, page(found), known)
    if found["rows"]:
        with own_file(picture, known) as staged, staged.open("wb") as file:
            draw_table(found, file)
    console.print(f"Written: {', '.join(map(str, (data, text, picture) if found['rows'] else (data, text)))}")
    return found


def trials_by_name(names: Sequence[str], tried: Sequence[Row]) -> dict[str, list[Row | None]]:
    """Return the trials of each method in their order; None for one that was not run."""
    by_name = {row["name"]: row for row in tried}
    return {name: [by_name.get(f"{name}-trial-{n}") for n in range(len(TUNED[name].trials))] for name in names}


def _whole(rows: Sequence[Row | None]) -> list[Row]:
    """Return the trials, none where one of them is missing: nothing is chosen from fewer."""
    there = [row for row in rows if row is not None]
    return there if len(there) == len(rows) else []


def keep_row(row: Row, folder: Path) -> None:
    """Write a row as a file of its own, over an earlier one of its name."""
    path = folder / f"{row['name']}.json"
    known = [sha256(path)] if row_in(path) is not None else []  # an earlier row, which lost its mark in a clone
    own_text(path, as_json(row), known)


def figure(values: Sequence[float], n: int) -> dict[str, float | None]:
    """Return mean and standard error in per cent: over the seeds, or for one seed that of `n` items.

    Args:
        values: a share in 0..1 for each seed.
        n: items behind each of them.
    """
    mean = statistics.fmean(values)
    deviation = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    error = deviation if deviation is not None else math.sqrt(mean * (1 - mean) / n)
    return {"mean": round(100 * mean, 2), "se": round(100 * error, 2)}


def summary(
    names: Sequence[str], seeds: int, done: Sequence[Row], tried: Mapping[str, Sequence[Row | None]]
) -> dict[str, Any]:
    """Return the content of lab.json: a row per method with mean and SE, paired differences, trials, what is missing.

    Args:
        names: rows of the table.
        seeds: trainings that each row should have.
        done: the runs that are there.
        tried: trials of each method; None for one that was not run.
    """
    by_row = {name: [row for row in done if _is_of(row, name)] for name in names}
    rows = [row_figures(name, mine) for name, mine in by_row.items() if mine]
    missing = {name: (1 if name == BASE.name else seeds) - len(mine) for name, mine in by_row.items()}
    return {
        "base": SHIPPED_MODEL.name,
        "unit": "per cent, exact match; se over the seeds, with one seed over the items",
        "n": {key: done[0]["scores"][key]["n"] for key in MEASURES} if done else {},
        "rows": rows,
        "missing": {name: count for name, count in missing.items() if count > 0},
        "differences": [
            found
            for rival in by_row
            if rival not in (BASE.name, "citi") and "citi" in by_row
            for found in _difference("citi", rival, by_row)
        ],
        "trials": {
            name: [{"options": list(TUNED[name].trials[number]), **_worth(row)} for number, row in enumerate(one)]
            for name, one in tried.items()
        },
    }


def _is_of(row: Row, name: str) -> bool:
    return bool(row["name"] == name or row["name"].rpartition("-")[0] == name)


def row_figures(name: str, mine: Sequence[Row]) -> dict[str, Any]:
    """Return what the table says of a row."""
    one = mine[0]["scores"]
    n = one["tool_seen"]["n"]
    return {
        "name": name,
        "label": mine[0]["label"].split(", seed")[0],
        "seeds": [int(row["name"].rpartition("-")[2]) for row in mine if name != BASE.name],
        "options": mine[0]["options"],
        "tools": figure([tools_of(row) for row in mine], 2 * n),
        "general": figure([row["general"] for row in mine], 4 * n),
        **{key: figure([row["scores"][key]["accuracy"] for row in mine], one[key]["n"]) for key in MEASURES},
        "seconds": round(statistics.fmean(row["training_seconds"] for row in mine), 1),
    }


def _worth(row: Row | None) -> dict[str, Any]:
    if row is None:
        return {"worth": None}
    shares = {"tools": tools_of(row), "general": row["general"], "worth": worth(row)}
    return {"n": row["scores"]["tool_seen"]["n"], **{key: round(100 * share, 2) for key, share in shares.items()}}


def _difference(name: str, rival: str, by_row: Mapping[str, Sequence[Row]]) -> list[dict[str, Any]]:
    """Return the paired difference of two rows over the seeds that both have, in points; none with fewer than two."""
    ours, others = ({row["name"].rpartition("-")[2]: row for row in by_row[one]} for one in (name, rival))
    pairs = [(row, others[seed]) for seed, row in ours.items() if seed in others]
    if len(pairs) < 2:
        return []
    found: dict[str, Any] = {"row": name, "minus": rival, "seeds": len(pairs)}
    for key, of in (("tools", tools_of), ("general", lambda row: row["general"])):
        gaps = [of(one) - of(other) for one, other in pairs]
        error = statistics.stdev(gaps) / math.sqrt(len(gaps))
        found[key] = {"mean": round(100 * statistics.fmean(gaps), 2), "se": round(100 * error, 2)}
    return [found]
