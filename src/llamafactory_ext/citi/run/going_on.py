"""What an interrupted citi run has kept, in one sentence."""

from __future__ import annotations

from typing import Any

from ...checkpoint.folders import newest_complete
from ...training.stopping import how_to_resume
from .folder import RunFolder


def how_to_go_on(training_args: Any, folder: RunFolder) -> str:
    """Return what the folder of a run holds, and what goes on from there."""
    done = [phase.name for phase in folder.done()]
    folders = [folder.folder(phase) for phase in reversed(folder.phases) if phase.name not in done]
    kept = [f"phase{'s' if len(done) > 1 else ''} {', '.join(done)}"] if done else []
    if any(newest_complete(place) is not None for place in folders):
        text = how_to_resume(training_args, *folders)
        return f"{kept[0]} {'are' if len(done) > 1 else 'is'} complete, and {text}" if kept else text
    if not kept and (folder.path / "importance.json").is_file():
        kept = ["the importance of what was scored"]
    if not kept:
        return "no checkpoint was saved yet. Repeat the command to begin again."
    without = " without overwrite_output_dir" if training_args.overwrite_output_dir else ""
    return f"{kept[0]} {'are' if len(done) > 1 else 'is'} kept. Repeat the command{without} to go on from there."
