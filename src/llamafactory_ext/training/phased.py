"""The folder of a run in phases: what was planned, which phases are done, where an interrupted one resumes.

No method is known here. A phase keeps its checkpoints and log in a folder of its own; once it is complete, its adapter
is sealed there. The last phase's adapter ends up at the top.
"""

from __future__ import annotations

import datetime as calendar
import itertools
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from torch import nn

from ..checkpoint.atomic import discard_folder, publish_folder, read_object, staged_file, sync, write_json, write_text
from ..checkpoint.base import MANIFEST, difference
from ..checkpoint.folders import COMPLETE, SEAL, find_fault, remove_leftovers, seal_adapter, seal_folder
from ..errors import CheckpointError

WEIGHTS: Final = "adapter_model.safetensors"
METHOD: Final = "method"  # in the manifest; those of the first method in phases have none
LOG: Final = "trainer_log.jsonl"
DAY: Final = "date"  # in the manifest, where the tools of the template say which day it is


@dataclass(frozen=True)
class Phase:
    """One phase.

    Attributes:
        name: short name.
        title: the paper's name.
        trains: groups of parameters that move; everything else stands still.
        epochs: passes over the training data.
        lr: peak learning rate.
    """

    name: str
    title: str
    trains: frozenset[Any]
    epochs: float
    lr: float


@dataclass(frozen=True)
class PhasedFolder:
    """`output_dir` of a run in phases; a method derives its own.

    Attributes:
        NAMES: of all phases that the method knows.
        FILES: that its runs leave at the top, beside those of every run in phases.
        LATER: options that plans of earlier versions lack, with the values that those runs had.
        path: the folder.
        phases: the phases of the run, in order.
    """

    NAMES: ClassVar[tuple[str, ...]] = ()
    FILES: ClassVar[tuple[str, ...]] = ()
    LATER: ClassVar[Mapping[str, Any]] = {}

    path: Path
    phases: Sequence[Phase]

    def check(self, plan: Mapping[str, Any]) -> None:
        """Make sure that what the folder holds, if anything, is an interrupted run with this plan.

        Raises:
            CheckpointError: it is a run with another plan.
        """
        manifest = self.path / MANIFEST
        if not manifest.is_file():
            return
        kept = read_object(manifest, "manifest").get("plan", {})
        if not isinstance(kept, dict):
            raise CheckpointError(
                f"{manifest}: the manifest is damaged (its plan is no object); restore it, or "
                "choose another output_dir, or set overwrite_output_dir: true to start anew."
            )
        old = {**self.LATER, **kept}
        changed = [key for key in sorted({*plan, *old}) if plan.get(key) != old.get(key)]
        if changed:
            lines = [f"  - {key}: {old.get(key)!r} then, {plan.get(key)!r} now" for key in changed]
            advice = (
                "Repeat the command with the old settings to go on, or choose another output_dir, or set "
                "overwrite_output_dir: true to start anew."
            )
            raise CheckpointError("\n".join([f"{self.path} holds a run with other settings:", *lines, advice]))

    def day(self) -> calendar.date | None:
        """Return the day that the tools of an interrupted run say; None without such a run, or where they say none."""
        manifest = self.path / MANIFEST
        kept = read_object(manifest, "manifest").get(DAY) if manifest.is_file() else None
        try:
            return calendar.date.fromisoformat(kept) if isinstance(kept, str) else None
        except ValueError:
            return None

    def check_inputs(self, base: nn.Module, data: str) -> None:
        """Make sure that an interrupted run goes on with the base model and the data it began with.

        Args:
            base: the base model.
            data: hash of the tokenized training data.

        Raises:
            CheckpointError: either has changed.
        """
        path = self.path / MANIFEST
        if not path.is_file():
            return
        manifest = read_object(path, "manifest")
        changed = difference(manifest, path, base)
        if changed is not None:
            what = f"another base model under the same name ({changed})"
        elif manifest.get("data") != data:
            what = "other training data under the same name"
        else:
            return
        raise CheckpointError(
            f"{self.path} holds a run that began with {what}. Put the old one back to go on, or choose another "
            "output_dir, or set overwrite_output_dir: true to start anew."
        )

    def start(self, manifest: Mapping[str, Any], *, overwrite: bool) -> None:
        """Make the folder ready: emptied of an older run if asked, with a manifest. For the main process only."""
        form = re.compile(f"phase-[0-9]-({'|'.join(map(re.escape, self.NAMES))})")
        phases = sorted(path for path in self.path.glob("phase-[0-9]-*") if form.fullmatch(path.name))
        for folder in (self.path, *phases):
            remove_leftovers(folder)
        if overwrite and (self.path / MANIFEST).is_file():  # else nothing in the folder is a run of ours
            # A death in between leaves the older run with fewer phases, or none: never phases without their manifest.
            for folder in reversed(phases):
                discard_folder(folder)
            for name in (SEAL, WEIGHTS, "data_report.json", *self.FILES):
                (self.path / name).unlink(missing_ok=True)
            (self.path / MANIFEST).unlink()
        if not (self.path / MANIFEST).is_file():
            write_json(self.path / MANIFEST, dict(manifest))

    def folder(self, phase: Phase) -> Path:
        """Return where this phase keeps its checkpoints and log."""
        return self.path / f"phase-{list(self.phases).index(phase) + 1}-{phase.name}"

    def adapter(self, phase: Phase) -> Path:
        """Return the adapter as the phase left it; it exists only once the phase is complete."""
        return self.folder(phase) / "adapter"

    def done(self) -> list[Phase]:
        """Return the phases that are complete, from the first on."""
        return list(itertools.takewhile(lambda phase: find_fault(self.adapter(phase)) is None, self.phases))

    def closing(self, phase: Phase) -> Path:
        """Return where the phase's last files are written before `close` puts them in place."""
        return self.folder(phase) / ".closing.tmp"

    def close(self, phase: Phase) -> None:
        """Put the files of `closing` in place; its folder `adapter` comes last and marks the phase as complete."""
        staged = self.closing(phase)
        seal_folder(staged / "adapter")
        for file in staged.iterdir():
            if file.is_file():
                sync(file)
                file.replace(self.folder(phase) / file.name)
        publish_folder(staged / "adapter", self.adapter(phase))
        staged.rmdir()

    def rewind_log(self, phase: Phase, step: int) -> None:
        """Take the lines of upstream's log that come after `step` out of it; an interrupted run repeats them."""
        path = self.folder(phase) / LOG
        if not path.is_file():
            return
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        kept = "".join(line for line in lines if _logged_step(line) <= step)
        write_text(path, kept)

    def finish(self) -> None:
        """Copy the last phase's adapter to the top; the weights come last and mark the run as finished."""
        (self.path / SEAL).unlink(missing_ok=True)
        files = [file for file in self.adapter(self.phases[-1]).iterdir() if file.name != COMPLETE]
        for file in sorted(files, key=lambda file: file.name == WEIGHTS):
            with staged_file(self.path / file.name) as staged:
                shutil.copyfile(file, staged)
        seal_adapter(self.path)


def _logged_step(line: str) -> float:
    """Return the step of a line; infinity for one that a killed process has not finished."""
    try:
        return float(json.loads(line)["current_steps"]) if line.endswith("\n") else float("inf")
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return float("inf")
