"""What a run was asked for, kept in the mark of each of its checkpoints: it goes on only with the same options."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .atomic import read_json
from .folders import COMPLETE, steps_of

PLAN = "plan"  # in the mark of a checkpoint


def plain(value: Any) -> Any:
    """Return a value of an option as JSON gives it back."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def check_plan(checkpoint: Path, plan: Mapping[str, Any], *, named: bool) -> None:
    """Make sure that a checkpoint was saved by a run with the same plan, as far as it says.

    Args:
        checkpoint: a folder.
        plan: options and hashes, by name.
        named: whether resume_from_checkpoint names it.

    Raises:
        CheckpointError: it was not.
    """
    mark = read_json(checkpoint / COMPLETE, "mark") if (checkpoint / COMPLETE).is_file() else {}
    saved = mark.get(PLAN) if isinstance(mark, dict) else None
    if not isinstance(saved, dict):
        return
    if changed := [name for name in plan if name in saved and saved[name] != plan[name]]:
        then, now = (", ".join(f"{name}: {_shown(of[name])}" for name in changed) for of in (saved, plan))
        anew = (
            "remove resume_from_checkpoint and name a new output_dir"
            if named
            else "choose another output_dir, or set overwrite_output_dir: true"
        )
        raise CheckpointError(
            f"{checkpoint} was saved with {then}; this run has {now}. Restore the old to go on; to start anew {anew}."
        )


def check_newest(folder: Path, named: Path | None, plan: Mapping[str, Any]) -> None:
    """Do so for the checkpoint that is named, or else for the newest complete one in a folder.

    Raises:
        CheckpointError: it was saved by a run with another plan.
    """
    marked = [path for _, path in sorted(steps_of(folder).items()) if (path / COMPLETE).is_file()]
    if checkpoint := named or (marked[-1] if marked else None):
        check_plan(checkpoint, plan, named=named is not None)


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
