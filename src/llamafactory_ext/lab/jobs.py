"""One run from start to end: train, measure, keep the result; each in its own process, several side by side."""

import hashlib
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import yaml
from rich.console import Console

from ..checkpoint.atomic import write_json
from ..checkpoint.own import claim_folder
from ..errors import UpstreamError
from ..options.command_file import CHECKS
from ..progress import Shown
from .example import Half
from .methods import SHIPPED_MODEL, Method
from .place import BEGUN, measured_in, row_in

Row = dict[str, Any]
# What a job is doing, and how many of how many steps are done, where that is known.
Tell = Callable[[str, tuple[int, int] | None], None]

_STEP = re.compile(rb"(\d+)/(\d+) \[")


class EndedEarly(Exception):  # noqa: N818 (no error of its own: another run failed, the user stopped, time is over)
    """A job that was ended or never begun because the whole command ends."""


@dataclass(frozen=True)
class Setting:
    """What all jobs share.

    Attributes:
        root: the repository; its examples/ and data/ are used.
        out: where runs, logs and results go.
        limit: held-out items per set.
        stop: set when the demo is to end early; running processes are then ended.
        half: of the held-out items; "validation" to choose settings.
        kept: folders whose results count too where they were made from the same inputs.
        until: no job is begun after this reading of the monotonic clock.
        keep: gets each row as soon as it is there.
    """

    root: Path
    out: Path
    limit: int
    stop: Event
    half: Half = "test"
    kept: tuple[Path, ...] = ()
    until: float = math.inf
    keep: Callable[[Row], None] | None = None


def files_of(methods: Sequence[Method]) -> list[str]:
    """Return the names of everything that these runs write into their folder."""
    ends = ("", BEGUN, ".json", ".train.log", ".evaluate.log", ".scores.json")
    return [f"{method.name}{end}" for method in methods for end in ends if method.yaml or end not in ends[:2]]


def training_command(method: Method, output: Path) -> list[str]:
    """Return the command line that trains a method, from the repository's root."""
    program = str(Path(sys.executable).with_name("llamafactory-cli"))
    return [program, "train", f"examples/yaml/{method.yaml}", *method.options, f"output_dir={output}"]


def _fingerprint(method: Method, setting: Setting) -> str:
    """Return a hash of what decides a result: command, YAML file, its data sets, base model, number of items."""
    command = training_command(method, Path("out"))[1:] if method.yaml else []
    digest = hashlib.sha256(f"{command} {setting.limit} {setting.half}".encode())
    used = [SHIPPED_MODEL / "model.safetensors"]
    if method.yaml:
        options = setting.root / "examples/yaml" / method.yaml
        names = str(yaml.safe_load(options.read_text("utf-8"))["dataset"]).split(",")
        used += [options, *(setting.root / "data" / f"{name.strip()}.json" for name in names)]
    for path in used:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _steps_in(log: Path) -> tuple[int, int] | None:
    """Return the last "done/total" that the training's own progress bar wrote into its log."""
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - 4096, 0))
        found = _STEP.findall(file.read())
    return (int(found[-1][0]), int(found[-1][1])) if found else None


def _run(doing: str, command: list[str], log: Path, setting: Setting, tell: Tell) -> float:
    """Run a command on one core to its end and return its seconds.

    Raises:
        UpstreamError: if it fails; the message names the log.
        EndedEarly: if the demo ends.
    """
    environment = dict(os.environ, OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="")
    environment[CHECKS] = "1"  # for the baselines too
    started = time.monotonic()
    with log.open("wb") as file:
        child = subprocess.Popen(command, cwd=setting.root, env=environment, stdout=file, stderr=file)
        try:
            while child.poll() is None and not setting.stop.is_set():
                time.sleep(0.5)
                tell(doing, _steps_in(log))
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
    if setting.stop.is_set():
        raise EndedEarly
    if child.returncode != 0:
        last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["(empty)"]
        raise UpstreamError(
            f"{doing} failed with exit code {child.returncode}: {last[0]}\n"
            f"Read {log}, then run the demo again; finished steps are kept."
        )
    return time.monotonic() - started


def _clear_unless_resumable(method: Method, folder: Path, made_from: str) -> None:
    """Remove what an unfinished or outdated training left, except where the same training can go on from it."""
    begun = folder.with_name(f"{method.name}{BEGUN}")
    if not begun.exists():
        claim_folder(folder)
    elif not (method.resumes and begun.read_text() == made_from):
        shutil.rmtree(folder, ignore_errors=True)
    begun.write_text(made_from)


def run_job(method: Method, setting: Setting, tell: Tell) -> Row:
    """Make one row of the report; taken from disk where an earlier run made it from the same inputs."""
    if setting.stop.is_set():
        raise EndedEarly
    made_from = _fingerprint(method, setting)
    for kept in (setting.out, *setting.kept):
        found = row_in(kept / f"{method.name}.json")
        if found is not None and found["made_from"] == made_from:
            return found
    if time.monotonic() > setting.until:
        raise EndedEarly
    folder, seconds = setting.out / method.name, 0.0
    program = [sys.executable, "-m", "llamafactory_ext.cli"]
    measure = [*program, "lab", "evaluate", f"--limit={setting.limit}", f"--half={setting.half}"]
    if method.yaml:
        _clear_unless_resumable(method, folder, made_from)
        log = setting.out / f"{method.name}.train.log"
        seconds = _run("training", training_command(method, folder), log, setting, tell)
        measure.append(f"--adapter={folder}" if method.adapter else f"--model={folder}")
    scores = setting.out / f"{method.name}.scores.json"
    log = setting.out / f"{method.name}.evaluate.log"
    _run("measuring", [*measure, f"--out={scores}"], log, setting, tell)
    measured = measured_in(scores)
    row: Row = {
        "name": method.name,
        "label": method.label,
        "made_from": made_from,
        "options": list(method.options),
        "training_seconds": round(seconds, 1),
        "general": measured["general"],
        "scores": measured["scores"],
    }
    write_json(setting.out / f"{method.name}.json", row)
    return row


def run_side_by_side(methods: Sequence[Method], setting: Setting, workers: int | None, console: Console) -> list[Row]:
    """Run jobs, one per core, and show how far each is; the first failure ends the others.

    Returns:
        the rows in the order of the jobs, without those that were not begun in time.

    Raises:
        UpstreamError: one of them failed.
    """
    with Shown(console) as shown, ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        pieces = [shown.add(method.label) for method in methods]
        try:
            jobs = [
                pool.submit(_shown_job, method, setting, shown, piece)
                for method, piece in zip(methods, pieces, strict=True)
            ]
            wait(jobs)
        except BaseException:
            setting.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    for error in [job.exception() for job in jobs]:
        if error is not None and not isinstance(error, EndedEarly):
            raise error
    return [job.result() for job in jobs if job.exception() is None]


def _shown_job(method: Method, setting: Setting, shown: Shown, piece: int) -> Row:
    def tell(doing: str, steps: tuple[int, int] | None) -> None:
        done, total = steps or (0, None)
        shown.tell(piece, doing, done, total)

    try:
        row = run_job(method, setting, tell)
        if setting.keep is not None:
            setting.keep(row)
    except EndedEarly:
        shown.tell(piece, "not begun" if not setting.stop.is_set() else "ended")
        raise
    except BaseException:
        shown.tell(piece, "failed")
        setting.stop.set()
        raise
    shown.tell(piece, f"done, trained in {row['training_seconds']:.0f} s")
    return row
