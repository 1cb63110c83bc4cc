"""The files of a step: an ordinary data set, and the hashes of what they were made from and of themselves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from ..checkpoint.atomic import publish_folder, staged_folder, write_text
from ..checkpoint.own import as_json, sha256
from ..data.files.writing import DATASET_INFO
from ..errors import DataError
from .build import Steps
from .settings import ONE

SOURCE: Final = "SOURCE.json"
APART: Final = "_rationales"  # behind the name of a data set: its rationales as records of their own


def step_files(sets: Mapping[str, Steps], step: int) -> dict[str, str]:
    """Return the files of one step by name: records of each data set, dataset_info.json, and the hashes they are of.

    Args:
        sets: the data sets by their names in dataset_info.json.
        step: index of the step.
    """
    files: dict[str, str] = {}
    info = {}
    for number, (name, steps) in enumerate(sets.items(), 1):
        file = f"{number}.jsonl" if len(sets) > 1 else "records.jsonl"
        files[file] = _lines(steps.step(_step_of(steps, step)))
        info[name] = steps.entry_of(file)
        if steps.settings.rows != ONE:
            files[f"{number}{APART}.jsonl"] = _lines(steps.rationales())
            info[f"{name}{APART}"] = steps.entry_of(f"{number}{APART}.jsonl")
    files[DATASET_INFO] = as_json(info)
    hashes = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
    return {**files, SOURCE: as_json({"data": _marks(sets, step), "files": hashes})}


def _marks(sets: Mapping[str, Steps], step: int) -> dict[str, Any]:
    """Return what the files of a step are made of, by the name of the data set."""
    found = {}
    for name, steps in sets.items():
        at = _step_of(steps, step)
        found[name] = {"sha256": steps.digest, "step": at + 1, "share": steps.settings.shares[at]}
    return found


def _step_of(steps: Steps, step: int) -> int:
    return min(step, len(steps.settings.shares) - 1)


def _lines(records: Iterable[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records)


def write_step(sets: Mapping[str, Steps], step: int, folder: Path, check: Callable[[], None] = lambda: None) -> None:
    """Write the data of a step as one whole folder; one that is there is used as it is, and nothing is made again.

    Args:
        sets: the data sets by name.
        step: index of the step.
        folder: of its data.
        check: looks at what was built, before it is written.

    Raises:
        DataError: the folder holds a step of other records or settings, or its files were changed.
    """
    if folder.exists():
        _check_built(folder, _marks(sets, step))
        return
    files = step_files(sets, step)
    check()
    with staged_folder(folder) as staged:
        for file, text in files.items():
            write_text(staged / file, text)
        publish_folder(staged, folder)


def _check_built(folder: Path, marks: Mapping[str, Any]) -> None:
    try:
        source = json.loads((folder / SOURCE).read_text("utf-8"))
        made, hashes = source["data"], dict(source["files"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        made, hashes = None, {}
    if made != marks:
        raise DataError(
            f"{folder} was built from other records or settings; put the old ones back, or start with "
            "overwrite_output_dir: true, or name another output_dir."
        )
    for name, expected in hashes.items():
        path = folder / str(name)
        if not path.is_file() or sha256(path) != expected:
            raise DataError(
                f"{path} was changed or removed since it was built; remove {folder}, so that it is built again, or "
                "start with overwrite_output_dir: true."
            )
