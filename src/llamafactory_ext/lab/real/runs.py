"""One run of the real table: train, measure, keep figures, curve and pictures under a hash of their inputs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ...checkpoint.atomic import read_json
from ...checkpoint.own import as_json, own_file, own_text, sha256
from ...errors import UpstreamError
from ...options.command_file import CHECKS
from .checks import result_in
from .data import Prepared
from .measure import Request, sizes
from .rows import Job, Row

# What a run of CITI leaves for people; of other runs the curve is in the result.
_SHOWN = ("importance.json", "selection.json", "report.json", "importance.png", "routers.png", "training.png")


@dataclass(frozen=True)
class Setting:
    """What all runs share.

    Attributes:
        model: folder of the base model.
        model_hash: of its weights.
        template: of the model.
        prepared: data.
        runs: folder of what trainings write.
        rows: folder of the results.
        kept: further folders of results that count where they were made of the same.
        limit: most held-out items of a set; 0 takes the table's sizes.
        checkout: of API-Bank, or "".
        extra: options of every training, on top of the others.
    """

    model: Path
    model_hash: str
    template: str
    prepared: Prepared
    runs: Path
    rows: Path
    kept: tuple[Path, ...]
    limit: int
    checkout: str
    extra: Mapping[str, Any]


def files_of(jobs: Iterable[Job]) -> list[str]:
    """Return the names of everything that these runs write into their folder."""
    ends = ("", ".begun", ".ended", ".yaml", ".train.log", ".measure.log", ".request.json", ".figures.json")
    return [f"{job.name}{end}" for job in jobs for end in ends]


def made_from(job: Job, setting: Setting) -> str:
    """Return a hash of what decides a result: options, mixture, held-out items, base model, numbers of items."""
    held = setting.prepared.hashes["held"]
    official = bool(setting.checkout) and job.half == "test"
    return _hash([trained_from(job, setting), held, job.half, sizes(job.half, setting.limit), official])


def trained_from(job: Job, setting: Setting) -> str:
    """Return a hash of what decides a training; the base's is that of the model alone."""
    options = {**job.options, **setting.extra} if job.options else {}
    mixture = setting.prepared.hashes[str(job.options["dataset"])] if job.options else ""
    return _hash([options, setting.template, setting.model_hash, mixture])


def _hash(said: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def kept_result(job: Job, setting: Setting) -> Row | None:
    """Return the result of an earlier run that was made of the same; `result_in` says what it refuses."""
    wanted = made_from(job, setting)
    for folder in (setting.rows, *setting.kept):
        path = folder / f"{job.name}.json"
        if path.is_file() and (row := result_in(path, job, wanted)) is not None:
            return row
    return None


def run(job: Job, setting: Setting) -> Row:
    """Train and measure; the result goes to ``rows/NAME.json``.

    Raises:
        UpstreamError: a step failed; the message names its log.
    """
    folder, seconds = setting.runs / job.name, 0.0
    curve: list[list[Any]] = []
    if job.options:
        seconds = _train(job, setting, folder, trained_from(job, setting))
        curve = _curve(folder)
    figures = _measure(job, setting, folder)
    row = {
        "name": job.name,
        "row": job.kind.name,
        "label": job.kind.label,
        "made_from": made_from(job, setting),
        "half": job.half,
        "seed": job.seed,
        "options": {**job.options, **setting.extra} if job.options else {},
        "training_seconds": round(seconds, 1),
        "measuring_seconds": figures["seconds"],
        "seconds_by_set": figures["seconds_by_set"],
        "threads": int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1),
        "scores": figures["scores"],
        "items": figures["items"],
        "curve": curve,
    }
    write_result(setting.rows / f"{job.name}.json", row)
    if job.half == "test":
        _keep_shown(folder, setting.rows / job.name)
    elif folder.is_dir():  # a trial's weights are of no further use, and may be half a gigabyte
        shutil.rmtree(folder)
        folder.with_name(f"{job.name}.ended").unlink()
    return row


def write_result(path: Path, row: Mapping[str, Any], key: str = "made_from") -> None:
    """Write a JSON file over an earlier one of ours; one that a clone brought counts as ours where it has this key."""
    known = []
    if path.is_file():
        old = read_json(path, "result of an earlier run")
        known = [sha256(path)] if isinstance(old, dict) and key in old else []
    own_text(path, as_json(row), known)


def _train(job: Job, setting: Setting, folder: Path, wanted: str) -> float:
    """Train into a folder, unless it holds this very training; return its seconds."""
    begun, ended = (folder.with_name(f"{job.name}.{word}") for word in ("begun", "ended"))
    if (seconds := _seconds_of(ended, wanted)) is not None:
        return seconds
    ended.unlink(missing_ok=True)
    goes_on = job.kind.resumes and begun.is_file() and begun.read_text("utf-8", "replace") == wanted
    if folder.is_dir() and not goes_on and begun.is_file():
        shutil.rmtree(folder)
    begun.write_text(wanted, "utf-8")
    options = {
        "model_name_or_path": str(setting.model),
        "template": setting.template,
        **job.options,
        "dataset_dir": str(setting.prepared.folder),
        "output_dir": str(folder),
        **setting.extra,
    }
    file = folder.with_name(f"{job.name}.yaml")
    file.write_text(yaml.safe_dump(options, sort_keys=False), "utf-8")
    program = str(Path(sys.executable).with_name("llamafactory-cli"))
    seconds = _step([program, "train", str(file)], folder.with_name(f"{job.name}.train.log"), f"training {job.label}")
    ended.write_text(f"{wanted} {seconds:.1f}", "utf-8")
    return seconds


def _seconds_of(ended: Path, wanted: str) -> float | None:
    """Return how long this very training took; None where its mark is of another, or is not whole."""
    if not ended.is_file():
        return None
    found = re.fullmatch(r"(\w+) (\d+\.\d)", ended.read_text("utf-8", "replace"))
    return float(found[2]) if found and found[1] == wanted else None


def _measure(job: Job, setting: Setting, folder: Path) -> dict[str, Any]:
    out = folder.with_name(f"{job.name}.figures.json")
    request = Request(
        model=str(folder if job.options else setting.model),
        base=str(setting.model) if job.kind.is_adapter else "",
        template=setting.template,
        held=str(setting.prepared.held),
        half=job.half,
        limit=setting.limit,
        api_bank=str(setting.prepared.api_bank),
        checkout=setting.checkout,
        out=str(out),
    )
    file = folder.with_name(f"{job.name}.request.json")
    request.save(file)
    command = [sys.executable, "-m", "llamafactory_ext.lab.real.measure", str(file)]
    _step(command, folder.with_name(f"{job.name}.measure.log"), f"measuring {job.label}")
    figures: dict[str, Any] = read_json(out, "figures")
    return figures


def _step(command: Sequence[str], log: Path, doing: str) -> float:
    """Run a program to its end and return its seconds; Ctrl-C ends it too.

    Raises:
        UpstreamError: it failed.
    """
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", CHECKS: "1"}
    started = time.monotonic()
    with log.open("wb") as file:
        child = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
        try:
            code = child.wait()
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
    if code:
        last = log.read_text("utf-8", errors="replace").strip().splitlines()[-1:] or ["(empty)"]
        raise UpstreamError(
            f"{doing} failed with exit code {code}: {last[0]}\nRead {log}, then repeat the command; finished runs are "
            "kept."
        )
    return time.monotonic() - started


def _curve(folder: Path) -> list[list[Any]]:
    """Return phase, step and loss of what a training logged."""
    states = sorted(folder.glob("**/trainer_state.json"))
    phased = [path for path in states if path.parent != folder and not path.parent.name.startswith("checkpoint")]
    found: list[list[Any]] = []
    for path in phased or [path for path in states if path.parent == folder]:
        phase = path.parent.name if phased else ""
        history = read_json(path, "training's history")["log_history"]
        found += [[phase, entry["step"], round(entry["loss"], 4)] for entry in history if "loss" in entry]
    return found


def _keep_shown(folder: Path, target: Path) -> None:
    """Copy importance map, selection, router figures and curves beside the result that they belong to."""
    is_ours = target.with_suffix(".json").is_file()
    for path in (folder / name for name in _SHOWN):
        if path.is_file():
            target.mkdir(parents=True, exist_ok=True)
            copy = target / path.name
            with own_file(copy, [sha256(copy)] if is_ours and copy.is_file() else ()) as staged:
                shutil.copyfile(path, staged)
