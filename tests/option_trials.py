"""The trials behind the table of options: what is run for each row, and what the run must show."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any

import option_runs
from llamafactory_ext.options.fates.row import METHODS, SHOWN, Row

SEED = 20261129


@dataclass(frozen=True)
class Trial:
    """One row tried with one method.

    Attributes:
        expected: "weights", "nothing", "file PATTERN", "log NAME", "refused" or "no effect".
        text: what a refusal or a warning must say.
        beside: options of the run without the option, beside those of the method.
        changes: those of the run with it.
    """

    row: Row
    method: str
    expected: str
    text: str
    beside: Mapping[str, Any] = field(hash=False)
    changes: Mapping[str, Any] = field(hash=False)

    @property
    def id(self) -> str:
        return f"{self.row.name}-{self.method}"

    @property
    def base_id(self) -> str:
        """The name of the run without the option; trials with equal other options share one."""
        return f"{self.method} {json.dumps(self.beside, sort_keys=True)}"

    @property
    def run_id(self) -> str:
        """The name of the run that shows it, which others may share."""
        if self.expected in ("nothing", "no effect"):
            return f"together {self.base_id}"
        stated = self.row.fate(self.method).kind == "refused"
        return f"refused {self.base_id}" if stated and self.expected == "refused" else self.id

    @property
    def kind(self) -> tuple[str, str]:
        return self.method, self.expected.partition(" ")[0] if self.expected != "no effect" else self.expected


def trials_of(rows: Iterable[Row], known: Mapping[str, Any]) -> list[Trial]:
    """Return the trials of all rows whose option the installed versions have."""
    return [
        trial
        for row in rows
        if row.name in known and row.trial is not None
        for method in METHODS
        if (trial := _trial(row, method, known)) is not None
    ]


def _trial(row: Row, method: str, known: Mapping[str, Any]) -> Trial | None:
    fate = row.fate(method)
    if row.untried and fate.kind == "works":
        return None
    beside = {name: value for name, value in row.besides(method).items() if name in known or value is None}
    if option_runs.METHODS[method]["finetuning_type"] in METHODS:
        beside.pop("finetuning_type", None)
    elif row.types:
        beside.setdefault("finetuning_type", row.types[0])
    expected, text = fate.kind, fate.text.format(method=SHOWN[method])
    if fate.kind == "works":
        expected = row.effect(method)
        text = row.name
        if row.needs and find_spec(row.needs) is None:
            expected, text = "refused", f"{row.name} needs the package"
        elif row.of and row.of not in beside:
            expected, text = "no effect", f"{row.name} has no effect without {row.of}"
    if expected == "refused":
        beside = {name: value for name, value in beside.items() if name == "finetuning_type"}
    return Trial(row, method, expected, text, beside, beside | dict(row.along) | {row.name: row.trial})


def sample(trials: list[Trial], each: int = 1) -> list[Trial]:
    """Return a seeded sample that has every kind of trial with every method."""
    chosen: dict[tuple[str, str], list[Trial]] = {}
    for trial in random.Random(SEED).sample(trials, len(trials)):
        found = chosen.setdefault(trial.kind, [])
        if len(found) < each:
            found.append(trial)
    return [trial for found in chosen.values() for trial in found]


def run(trials: list[Trial], folder: Path, workers: int = 2, *, each: bool = False) -> dict[str, dict[str, Any]]:
    """Run all trials and what they are compared with, in a server of their own; results by the names of runs.

    Args:
        trials: of the table.
        folder: for all that is written.
        workers: runs at once.
        each: a run for every trial. False puts together what can be: options that leave the weights as they are, with
            equal other options, and refused ones, whose message names them all.
    """
    names = option_runs.make_world(folder)
    wanted = {trial.base_id: (trial.method, dict(trial.beside)) for trial in trials if trial.expected != "refused"}
    runs_of: dict[str, list[str]] = {}
    for trial in trials:
        run_id = trial.id if each else trial.run_id
        method, changes = wanted.get(run_id, (trial.method, {}))
        wanted[run_id] = (method, changes | dict(trial.changes))
        runs_of.setdefault(run_id, []).append(trial.id)
    cases = []
    for number, (name, (method, changes)) in enumerate(wanted.items()):
        places = {
            "model_name_or_path": names["model"],
            "dataset_dir": names["data"],
            "output_dir": str(folder / "out" / str(number)),
        }
        own = names | {"folder": str(folder / "own" / str(number)), "tokenized": str(folder / "tok" / str(number))}
        options = option_runs.options_of(method, places | _filled(changes, own))
        cases.append({"id": name, "options": options})
    (folder / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    command = [sys.executable, option_runs.__file__, "cases.json", "results.json", str(workers)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = {result["id"]: result for result in json.loads((folder / "results.json").read_text("utf-8"))}
    return found | {trial_id: found[run_id] for run_id, ids in runs_of.items() for trial_id in ids}


def _filled(changes: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: names[value[1:]] if isinstance(value, str) and value.startswith("$") else value
        for name, value in changes.items()
    }


def fault(trial: Trial, results: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return what a trial shows otherwise than its row says; None where all is as it says."""
    run = results[trial.id]
    if trial.expected == "refused":
        return _fault_of_refusal(trial, run)
    base = results[trial.base_id]
    if base["end"] != "well":
        return f"the run without it ended: {base['end']} {base.get('message', '')}"
    if run["end"] != "well":
        return f"{run['end']}: {run.get('message', '')}"
    same = run["weights"] == base["weights"]
    kind, _, name = trial.expected.partition(" ")
    if kind == "weights":
        return "the weights are the same" if same else None
    if kind == "log":
        missing = not any(found.startswith(name) for found in run["logged"])
        return f"nothing is logged as {name}: {run['logged']}" if missing else None
    if kind == "file":
        found = any(PurePath(file).match(name) for file in run["files"])
        return None if found else f"no file {name} among {run['files']}"
    if trial.expected == "no effect" and trial.text not in " ".join(run["printed"].split()):
        return f"no warning: {trial.text}"
    return None if same else "the weights differ"


def _fault_of_refusal(trial: Trial, run: Mapping[str, Any]) -> str | None:
    if run["end"] != "refused":
        return f"not refused: {run['end']} {run.get('message', '')}"
    if trial.row.name not in run["message"] or trial.text not in run["message"]:
        return f"another message: {run['message']}"
    if run["loaded"] or run["exists"]:
        return "something was loaded or written first"
    own = re.compile(rf"  - {trial.row.name}[ =:]")
    lines = [line for line in run["message"].splitlines() if own.match(line)]
    return None if len(lines) == 1 else f"not one line: {run['message']}"
