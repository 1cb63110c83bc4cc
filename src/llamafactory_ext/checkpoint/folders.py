"""Checkpoint folders: published whole, marked last, checked before use, removed without a trace.

Only what a run of ours wrote is ever removed: a checkpoint carries the name of its run.

A checkpoint is written under `.saving/`, where neither we nor transformers look for one; then every file is forced to
disk, the folder renamed, and `complete.json` written: a list of all files with sizes and hashes. Whatever dies at
whatever moment leaves either a checkpoint that fits its list or a folder that is recognised and skipped.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..methods import methods
from ..paths import is_file
from .atomic import REMOVED, discard_folder, publish_folder, read_json, remove_staged, write_json

COMPLETE = "complete.json"
SEAL = "adapter_seal.json"  # hashes of a finished adapter
_ADAPTER = ("adapter_model.safetensors", "adapter_config.json")
PUBLISHING = "publishing.json"  # in a folder between its place and its mark
STAGING = ".saving"
RUN = "run"  # in the mark: which run wrote it
_OF_METHODS = "".join(f"{name}|" for row in methods() for name in row.old_files)
# What earlier versions left under these names, in output_dir or a phase's folder.
_EARLIER = re.compile(
    r"\.(checkpoint-\d+|adapter|phase-\d-\w+)\.old|\.adapter\.tmp|"
    rf"\.({_OF_METHODS}molora|importance|selection|report|data_report|tl_report|eval_results|adapter_config|complete|optimizer|"
    r"scheduler)\.json\.tmp|\.(trainer_log\.jsonl|README\.md|adapter_model\.safetensors)\.tmp"
)
_CLOSING = ".closing.tmp"
_ANY = 2**62
_SHOWN = 100  # characters of a name in a message


def publish_checkpoint(staged: Path, path: Path, facts: Mapping[str, Any]) -> None:
    """Move a finished folder to `path`, in the place of an older one, and mark it as complete.

    Args:
        staged: the folder as it was written, alone in its parent; nobody may write to it any more.
        path: its place.
        facts: what else the mark shall say.
    """
    (staged / COMPLETE).unlink(missing_ok=True)
    write_json(staged / PUBLISHING, {RUN: facts.get(RUN)})
    publish_folder(staged, path)
    with contextlib.suppress(OSError):  # something of somebody else is in it
        staged.parent.rmdir()
    write_json(path / COMPLETE, {**facts, "files": _inventory(path)})
    (path / PUBLISHING).unlink()


def seal_folder(folder: Path) -> None:
    """Mark a folder as complete where it is."""
    (folder / COMPLETE).unlink(missing_ok=True)
    write_json(folder / COMPLETE, {"files": _inventory(folder)})


def seal_adapter(folder: Path) -> None:
    """Write down what a finished adapter's files are, so that a damaged one is not loaded."""
    found = {name: {"sha256": _hash(folder / name)} for name in _ADAPTER if (folder / name).is_file()}
    write_json(folder / SEAL, {"files": found})


@contextlib.contextmanager
def sealing(folder: Path, *, writes: bool) -> Iterator[None]:
    """Seal the final model that a run saves within: an older seal goes first, and an adapter gets its own last.

    Args:
        folder: output_dir.
        writes: whether this process is the one that saves.
    """
    if writes:
        (folder / SEAL).unlink(missing_ok=True)
    yield
    if writes and (folder / _ADAPTER[1]).is_file():
        seal_adapter(folder)


def check_adapter(folder: Path) -> None:
    """Make sure that an adapter's files are those that were saved; one without a seal is taken as it is.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    for mark in (SEAL, COMPLETE):
        files = _said(folder / mark).get("files") if (folder / mark).is_file() else {}
        if not isinstance(files, dict):
            if mark == SEAL:
                raise CheckpointError(
                    f"{folder / mark} is damaged: it does not say what was saved. Use a whole copy of the folder, or "
                    "delete this file to take the adapter as it is."
                )
            continue
        for name in _ADAPTER:
            facts = files.get(name)
            digest = facts.get("sha256") if isinstance(facts, dict) else None
            if digest is not None and (not (folder / name).is_file() or _hash(folder / name) != digest):
                raise CheckpointError(
                    f"{folder / name} is not what was saved: it is damaged or was changed since. Use a copy, train it "
                    f"anew, or delete {mark} beside it if you changed it yourself."
                )


def find_fault(folder: Path) -> str | None:
    """Say why this folder is not what was saved, in words; None if it is."""
    if not (folder / COMPLETE).is_file():
        return "it is not complete"
    try:
        files = read_json(folder / COMPLETE, "mark")["files"]
        expected = {name: (facts["bytes"], facts["sha256"]) for name, facts in files.items()}
    except (CheckpointError, KeyError, TypeError, AttributeError):
        return f"its {COMPLETE} is damaged"
    for name, (size, _) in expected.items():
        if not is_file(folder / name):
            return f"its {name[:_SHOWN]} is missing"
        if (found := (folder / name).stat().st_size) != size:
            return f"its {name} has {found:,} bytes instead of {size:,}"
    damaged = (name for name, (_, digest) in expected.items() if _hash(folder / name) != digest)
    return next((f"its {name} is damaged" for name in damaged), None)


def newest_checkpoint(
    folder: Path, *, check: bool = True, lowest: Callable[[int], int] = int
) -> tuple[Path | None, list[str]]:
    """Return the newest complete checkpoint in `folder`, and why newer ones were skipped, a line for each.

    Args:
        folder: holds `checkpoint-<step>` folders.
        check: False trusts the other processes, which check the same disk.
        lowest: the lowest of the numbers that all processes call it with; with disks of their own they may have
            different newest ones.
    """
    steps = steps_of(folder) if check else {}
    faults = {}
    agreed = _ANY
    while True:
        mine = -1 if check else agreed
        for step in sorted((step for step in steps if step <= agreed), reverse=True):
            if step not in faults:
                faults[step] = find_fault(steps[step]) or _unusable(steps[step])
            if faults[step] is None:
                mine = step
                break
        step, agreed = agreed, lowest(mine)
        if agreed in (-1, _ANY, step):
            break
    skipped = [
        f"Skipping {steps[step]}: {fault or 'other processes do not have it'}."
        for step, fault in sorted(faults.items(), reverse=True)
        if step != agreed
    ]
    return (folder / f"checkpoint-{agreed}" if 0 <= agreed < _ANY else None), skipped


def newest_complete(folder: Path) -> Path | None:
    """Return the newest checkpoint in `folder` that is marked as complete, by a look at the marks alone."""
    steps = steps_of(folder)
    return next((steps[step] for step in sorted(steps, reverse=True) if (steps[step] / COMPLETE).is_file()), None)


def remove_old(folder: Path, limit: int | None, keep: str | None, run: str | None = None) -> None:
    """Remove a run's incomplete checkpoints, and complete ones beyond the newest `limit`; no other's.

    Args:
        folder: holds `checkpoint-<step>` folders, the newest of them complete.
        limit: how many stay; None or 0 removes nothing.
        keep: the path of one that stays in any case, as the best so far.
        run: whose checkpoints they are; None for those of versions that did not say.
    """
    if not limit or limit < 1:
        return
    complete = []
    for _, path in sorted(steps_of(folder).items()):
        if (path / COMPLETE).is_file():
            if run_of(path) == run:
                complete.append(path)
        elif (path / PUBLISHING).is_file() and _said(path / PUBLISHING).get(RUN) == run:
            discard_folder(path)
    if not complete:
        return
    protected = {complete[-1], *(path for path in complete if keep is not None and path == Path(keep))}
    others = [path for path in complete if path not in protected]
    for path in others[: max(0, len(complete) - max(limit, len(protected)))]:
        discard_folder(path)


def run_of(checkpoint: Path) -> str | None:
    """Return which run wrote a checkpoint; None where its mark does not say."""
    return _said(checkpoint / COMPLETE).get(RUN)


def discard_checkpoints(folder: Path) -> None:
    """Remove all checkpoints that runs of ours left; other folders stay, whatever their names."""
    for path in steps_of(folder).values():
        if (path / COMPLETE).is_file() or (path / PUBLISHING).is_file():
            discard_folder(path)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process was writing or removing, known by its exact name."""
    remove_staged(folder)
    for path in (*folder.glob(f"{STAGING}/checkpoint-*"), *folder.glob(f".*{REMOVED}"), *folder.glob(_CLOSING)):
        _remove(path)
    for path in folder.glob(".*"):
        if _EARLIER.fullmatch(path.name):
            _remove(path)
    with contextlib.suppress(OSError):  # not there, or something else is in it
        (folder / STAGING).rmdir()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _said(path: Path) -> dict[str, Any]:
    """Return what a mark says; nothing where it cannot be read."""
    try:
        content = read_json(path, "mark")
    except CheckpointError:
        return {}
    return content if isinstance(content, dict) else {}


def steps_of(folder: Path) -> dict[int, Path]:
    """Return the checkpoints in a folder by their steps, complete or not."""
    found = ((re.fullmatch(r"checkpoint-(\d+)", path.name), path) for path in folder.glob("checkpoint-*"))
    return {int(match[1]): path for match, path in found if match and path.is_dir()}


def _unusable(folder: Path) -> str | None:
    return None if _said(folder / COMPLETE).get("resumable", True) else "it holds weights only"


def _inventory(folder: Path) -> dict[str, dict[str, Any]]:
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != PUBLISHING)
    return {
        file.relative_to(folder).as_posix(): {"bytes": file.stat().st_size, "sha256": _hash(file)} for file in files
    }


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
