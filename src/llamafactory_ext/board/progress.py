"""How far a run of ours is, read from the files it writes while it trains."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from ..checkpoint.base import MANIFEST
from ..checkpoint.folders import COMPLETE
from ..methods import Method, load, methods
from ..training.curves import Curve
from ..training.phased import LOG, METHOD, WEIGHTS

_NAME = re.compile(r"[\w-]{1,60}")
_TIME = re.compile(r"[\w:., ]{1,40}")
_OF_OTHERS: Final = frozenset({"loss", "reward"})  # LLaMA-Factory's own stages log them, too
State = Literal["done", "running", "waiting"]


@dataclass(frozen=True)
class PhaseProgress:
    """One phase.

    Attributes:
        name: short name.
        title: the paper's name.
        state: done, running (the first that is not done, once what comes before is done), or waiting.
        lines: what the trainer has logged, oldest first.
    """

    name: str
    title: str
    state: State
    lines: tuple[dict[str, Any], ...]

    @property
    def steps(self) -> tuple[int, int]:
        """(done, planned) optimiser steps; zeros before the first is logged."""
        return (self.lines[-1]["current_steps"], self.lines[-1]["total_steps"]) if self.lines else (0, 0)

    def last(self, key: str) -> float | None:
        """Return the newest logged value."""
        return next((line[key] for line in reversed(self.lines) if type(line.get(key)) in (int, float)), None)

    def shown(self, curve: Curve) -> float | None:
        """Return the newest value of a curve, as it is shown."""
        value = self.last(curve.key)
        return 1 - value if curve.complement and value is not None else value


@dataclass(frozen=True)
class Progress:
    """A whole run: its phases in order, whether what comes before them is done, whether the adapter is there."""

    phases: tuple[PhaseProgress, ...]
    chosen: bool
    finished: bool
    method: Method | None = None

    @property
    def running(self) -> PhaseProgress | None:
        return next((phase for phase in self.phases if phase.state == "running"), None)

    @property
    def percentage(self) -> float:
        """Share of the phases, each by its steps; phases weigh the same, as the later ones' steps are not known."""
        shares = [1.0 if phase.state == "done" else _share(*phase.steps) for phase in self.phases]
        return round(100 * sum(shares) / len(shares), 2)


def read_progress(folder: Path) -> Progress | None:
    """Return the progress of the run in this folder; None if no run in phases has begun there."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        phases = manifest["phases"]
        named = [(str(phase["name"]), str(phase["title"])) for phase in phases]
        if not all(_NAME.fullmatch(name) for name, _ in named):
            return None  # no manifest of a run of ours
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    row = _row_of(manifest)
    chosen, found = row is None or not row.begins or (folder / row.begins).is_file(), []
    reached = chosen
    for number, (name, title) in enumerate(named, 1):
        path = folder / f"phase-{number}-{name}"
        done = (path / "adapter" / COMPLETE).is_file()
        state: State = "done" if done else "running" if reached else "waiting"
        reached = reached and done
        found.append(PhaseProgress(name, title, state, _lines(path / LOG)))
    return Progress(tuple(found), chosen, (folder / WEIGHTS).is_file(), row) if found else None


def read_logged(folder: Path) -> Progress | None:
    """Return a run without phases as one of a single phase; None where no figure of a method's curves is logged."""
    lines = _lines(folder / LOG)
    logged = {key for line in lines for key in line}
    for row in methods():
        keys = {one.key for axis in load(row.curves) for one in axis.curves} if row.curves else set()
        if not row.phased and (keys & logged) - _OF_OTHERS:
            finished = lines[-1]["current_steps"] >= lines[-1]["total_steps"]
            phase = PhaseProgress(row.name, row.title, "done" if finished else "running", lines)
            return Progress((phase,), True, finished, row)
    return None


def _row_of(manifest: Any) -> Method | None:
    """Return the method that a manifest names; where it names none, the first one in phases, whose runs name none."""
    phased = [row for row in methods() if row.phased]
    named = manifest.get(METHOD)
    return next((row for row in phased if named in (row.name, None)), None)


def curve(phases: Sequence[PhaseProgress], key: str) -> tuple[list[int], list[float]]:
    """Return steps and values of one logged figure, the phases one after the other."""
    steps, values, offset = [], [], 0
    for phase in phases:
        for line in phase.lines:
            if type(line.get(key)) in (int, float):
                steps.append(offset + line["current_steps"])
                values.append(line[key])
        offset += phase.steps[0]
    return steps, values


def _share(done: int, planned: int) -> float:
    return done / planned if planned else 0.0


def _is_logged(value: Any) -> bool:
    """Tell whether a value is a number, or a time in words."""
    return type(value) in (int, float) or (isinstance(value, str) and _TIME.fullmatch(value) is not None)


def _lines(path: Path) -> tuple[dict[str, Any], ...]:
    """Return the complete lines of a log that another process is writing."""
    try:
        text = path.read_text("utf-8", errors="replace")
    except OSError:
        return ()
    found = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and all(type(entry.get(key)) is int for key in ("current_steps", "total_steps")):
            found.append({key: value for key, value in entry.items() if _is_logged(value)})
    return tuple(found)
