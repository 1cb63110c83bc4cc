"""`llamafactory-ext lab table --base real`: six rows on a real instruct model, settings by equal trials.

Every finished run is a JSON of its own with a hash of what it was made from. What lies in the output folder, or in the
repository's docs/real, and was made from the same is not run again. Rows that were not run are named as such.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from ...checkpoint.atomic import read_json
from ...checkpoint.own import claim, claim_plain, is_own, own_file, own_text, sha256
from ...errors import CheckpointError
from ..methods import PACKAGE_ROOT
from ..place import held
from ..table import check_names
from ..table_files import is_page_of
from .data import prepare
from .page import draw, page
from .rows import BASE, FIRST_SEED, NAMES, Job, Row, base_job, run_of, trials_of, winner
from .runs import Setting, files_of, kept_result, run, write_result
from .summary import summary

FOLDER, FILES = "real", ("real.json", "real.md", "real.png")


@dataclass(frozen=True)
class Table:
    """What is asked for.

    Attributes:
        data: folder of the published files.
        model: folder of the real model.
        out: folder of the table; the JSON of each run goes to ``out/real``.
        names: rows to run; None runs all.
        seeds: trainings of each row.
        limit: most held-out items of a set; 0 takes the table's sizes.
        minutes: no further run is begun after so many minutes; 0 sets no end.
        checkout: of API-Bank, whose classes judge calls in `official`; None leaves that figure out.
        runs: folder of what the trainings write; None takes ``out/runs``.
        root: the repository, whose docs/real holds finished runs.
        template: of the model.
        extra: options of every training, on top of the others.
    """

    data: Path
    model: Path
    out: Path
    names: Sequence[str] | None = None
    seeds: int = 1
    limit: int = 0
    minutes: float = 0
    checkout: Path | None = None
    runs: Path | None = None
    root: Path = PACKAGE_ROOT
    template: str = "smollm2"
    extra: Mapping[str, Any] = field(default_factory=dict)


class _Over(Exception):  # noqa: N818 (no error: the time that was given is over)
    """No further run is begun."""


class _Work:
    """The runs of one call: those that are there, and those that time allows."""

    def __init__(self, asked: Table, setting: Setting, console: Console) -> None:
        self._asked, self._setting, self._console = asked, setting, console
        self._started, self._begun = time.monotonic(), 0

    def result(self, job: Job, *, may_run: bool) -> Row | None:
        """Return a run's result: kept, or made now; None where it may not be made.

        Raises:
            _Over: the minutes are over.
        """
        if (row := kept_result(job, self._setting)) is not None:
            write_result(self._setting.rows / f"{job.name}.json", row)
            return row
        if not may_run:
            return None
        spent = (time.monotonic() - self._started) / 60
        if self._asked.minutes and self._begun and spent >= self._asked.minutes:
            self._console.print(f"{spent:.0f} minutes are over; {job.label} is not begun. The same command goes on.")
            raise _Over
        self._begun += 1
        self._console.print(f"{job.label} ...")
        row = run(job, self._setting)
        self._console.print(
            f"{job.label}: trained in {row['training_seconds']:.0f} s, measured in {row['measuring_seconds']:.0f} s"
        )
        return row


def real_table(asked: Table) -> dict[str, Any]:
    """Run what is not there yet, and write ``real.json``, ``real.md`` and ``real.png`` into the output folder.

    Raises:
        OptionError: there is no such row.
        CheckpointError: the model is not there.
        DataError: published files are missing.
        UpstreamError: a training failed; what was finished is kept.
    """
    wanted, console = check_names(asked.names, NAMES), Console()
    if not (asked.model / "model.safetensors").is_file():
        raise CheckpointError(
            f"{asked.model} holds no model.safetensors; write the real model first: "
            f"llamafactory-ext lab real-model --out {asked.model}"
        )
    claim_plain(asked.out)
    _claim(asked.out)
    runs = (asked.runs or asked.out / "runs").resolve()
    with held(runs, files_of(_every(asked.seeds)), option="--runs"):
        done, tried, setting = _done(asked, wanted, runs, console)
    found = summary(done, tried, setting.prepared.counts, asked.limit)
    write(asked.out, found)
    console.print(f"Written: {', '.join(str(asked.out / name) for name in FILES)}")
    return found


def _claim(out: Path) -> None:
    """Make sure, before hours are spent, that the table may be written over what is there."""
    data = out / FILES[0]
    old = read_json(data, "table") if data.is_file() and not is_own(data) else {}
    is_table = data.is_file() and (is_own(data) or (isinstance(old, dict) and {"rows", "n"} <= old.keys()))
    known = [sha256(path) for path in (out / name for name in FILES) if is_table and path.is_file()]
    claim([out / name for name in FILES], known=known)


def _every(seeds: int) -> list[Job]:
    names = [name for name in NAMES if name != BASE.name]
    trials = [job for name in names for job in trials_of(name)]
    runs = [run_of(name, FIRST_SEED + seed, {}) for name in names for seed in range(seeds)]
    return [base_job(), *trials, *runs]


def _done(
    asked: Table, wanted: Sequence[str], runs: Path, console: Console
) -> tuple[dict[str, list[Row]], dict[str, list[Row | None]], Setting]:
    """Return the results by row, those of the trials, and what all runs share."""
    rows = (asked.out / FOLDER).resolve()
    rows.mkdir(parents=True, exist_ok=True)
    console.print(f"Preparing the data of {asked.data} ... Logs: {runs}")
    setting = Setting(
        model=asked.model.resolve(),
        model_hash=sha256(asked.model / "model.safetensors"),
        template=asked.template,
        prepared=prepare(asked.data, runs / "data"),
        runs=runs,
        rows=rows,
        kept=(asked.root / "docs" / FOLDER,),
        limit=asked.limit,
        checkout=str(asked.checkout.resolve()) if asked.checkout else "",
        extra=asked.extra,
    )
    return (*_all_runs(asked, wanted, _Work(asked, setting, console)), setting)


def _all_runs(
    asked: Table, wanted: Sequence[str], work: _Work
) -> tuple[dict[str, list[Row]], dict[str, list[Row | None]]]:
    """Return the results by row, and those of the trials; rows that are not wanted are taken where they are there."""
    done: dict[str, list[Row]] = {name: [] for name in NAMES}
    tried: dict[str, list[Row | None]] = {}
    is_over = False

    def result(job: Job) -> Row | None:
        nonlocal is_over
        try:
            return work.result(job, may_run=job.kind.name in wanted and not is_over)
        except _Over:
            is_over = True
            return None

    if (row := result(base_job())) is not None:
        done[BASE.name].append(row)
    # Row by row, so that an interrupted table has whole rows; then seed by seed.
    for seed in range(asked.seeds):
        for name in NAMES:
            if name == BASE.name:
                continue
            if seed == 0:
                tried[name] = [result(job) for job in trials_of(name)]
            trials = [row for row in tried[name] if row is not None]
            if len(trials) == len(tried[name]):
                row = result(run_of(name, FIRST_SEED + seed, winner(name, trials)))
                done[name] += [row] if row is not None else []
    return done, tried


def write(out: Path, found: Mapping[str, Any]) -> None:
    """Write the table as JSON and page, and its picture once there is a row, over earlier ones of ours."""
    data, text, picture = (out / name for name in FILES)
    old = read_json(data, "table") if data.is_file() else {}
    is_ours = isinstance(old, dict) and "rows" in old and "n" in old
    known = [sha256(path) for path in (text, picture) if is_ours and path.is_file()]
    if is_ours and text.is_file() and not is_page_of(text, old, page):
        known = []
    write_result(data, found, "rows")
    own_text(text, page(found), known)
    if found["rows"]:
        with own_file(picture, known) as staged, staged.open("wb") as file:
            draw(found, file)
