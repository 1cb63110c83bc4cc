"""How far a CITI run is, read from the files it writes while it trains."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..checkpoint.base import MANIFEST
from ..checkpoint.card import SELECTION
from ..checkpoint.folders import COMPLETE
from ..citi.run.folder import LOG, WEIGHTS

State = Literal["done", "running", "waiting"]
GATES = ("tool", "general")


@dataclass(frozen=True)
class PhaseProgress:
    """One phase.

    Attributes:
        name: as in `citi_phases`.
        title: the paper's name.
        state: done, running (the first that is not done, once the components are chosen), or waiting.
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
        """The newest logged value."""
        return next((line[key] for line in reversed(self.lines) if key in line), None)

    def experts_weight(self, kind: str) -> float | None:
        """What the routers give to their experts together, on data of this kind: 1 - gate 0, mean over routers."""
        gate = self.last(f"gate0_{kind}")
        return None if gate is None else 1 - gate


@dataclass(frozen=True)
class Progress:
    """A whole run: its phases in order, whether the components have been chosen, whether the adapter is there."""

    phases: tuple[PhaseProgress, ...]
    chosen: bool
    finished: bool

    @property
    def running(self) -> PhaseProgress | None:
        return next((phase for phase in self.phases if phase.state == "running"), None)

    @property
    def percentage(self) -> float:
        """Share of the phases, each by its steps; phases weigh the same, as the later ones' steps are not known."""
        shares = [1.0 if phase.state == "done" else _share(*phase.steps) for phase in self.phases]
        return round(100 * sum(shares) / len(shares), 2)


def read_progress(folder: Path) -> Progress | None:
    """The progress of the run in this folder; None if no CITI run has begun there."""
    try:
        phases = json.loads((folder / MANIFEST).read_text("utf-8"))["phases"]
        named = [(str(phase["name"]), str(phase["title"])) for phase in phases]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    chosen, found = (folder / SELECTION).is_file(), []
    reached = chosen
    for number, (name, title) in enumerate(named, 1):
        path = folder / f"phase-{number}-{name}"
        done = (path / "adapter" / COMPLETE).is_file()
        state: State = "done" if done else "running" if reached else "waiting"
        reached = reached and done
        found.append(PhaseProgress(name, title, state, _lines(path / LOG)))
    return Progress(tuple(found), chosen, (folder / WEIGHTS).is_file()) if found else None


def curve(phases: Sequence[PhaseProgress], key: str) -> tuple[list[int], list[float]]:
    """Steps and values of one logged figure, the phases one after the other."""
    steps, values, offset = [], [], 0
    for phase in phases:
        for line in phase.lines:
            if key in line:
                steps.append(offset + line["current_steps"])
                values.append(line[key])
        offset += phase.steps[0]
    return steps, values


def _share(done: int, planned: int) -> float:
    return done / planned if planned else 0.0


def _lines(path: Path) -> tuple[dict[str, Any], ...]:
    """The complete lines of a log that another process is writing."""
    try:
        text = path.read_text("utf-8", errors="replace")
    except OSError:
        return ()
    found = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and {"current_steps", "total_steps"} <= entry.keys():
            found.append(entry)
    return tuple(found)
