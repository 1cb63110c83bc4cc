"""The folder of the lab's runs: what lies there is somebody's unless a run of the lab has marked it as its own."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from ..checkpoint.atomic import read_json, write_json
from ..checkpoint.locks import folder_held
from ..checkpoint.own import refuse_special
from ..errors import CheckpointError, DataError, OptionError

MARK: Final = ".lab_runs.json"
FORMAT: Final = "llamafactory_ext lab runs 1"
BEGUN: Final = ".begun"
COLUMNS: Final = ("tool_seen", "tool_unseen", "math", "code", "facts", "instructions")
_HASH = re.compile("[0-9a-f]{16}")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM}


@contextlib.contextmanager
def held(folder: Path, names: Iterable[str], *, option: str = "--out") -> Iterator[None]:
    """Hold the folder of runs as long as the block goes on; make it where there is none.

    Args:
        folder: of the runs.
        names: files and folders that the runs write into it.
        option: by which the user names another one.

    Raises:
        OptionError: one of them is somebody's, or another command works here; nothing was changed.
        DataError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not _is_marked(folder):
            _refuse(folder, names, option)
            write_json(folder / MARK, {"format": FORMAT})
        with folder_held(folder / MARK) as is_free:  # not the folder itself, whose lock `own_file` waits for
            if not is_free:
                raise OptionError(
                    f"{option} {folder}: another command of the lab works in this folder; wait for its end, or name "
                    "another one."
                )
            yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        place = f" ({error.filename})" if error.filename else ""
        raise DataError(
            f"{option} {folder} cannot be written: {error.strerror or error}{place}; make room, check the "
            "permissions, or name another folder. What is finished is kept."
        ) from None


def _is_marked(folder: Path) -> bool:
    try:
        found = read_json(folder / MARK, "mark")
    except CheckpointError:
        return False
    return isinstance(found, dict) and found.get("format") == FORMAT


def _refuse(folder: Path, names: Iterable[str], option: str) -> None:
    # Runs of earlier versions left no other marks.
    own = {path.stem for path in folder.glob(f"*{BEGUN}") if _is_begun(path)}
    own |= {path.parent.name for path in folder.glob("*/trainer_state.json")}
    own |= {"base"} if own else set()  # which is measured alone
    problems = [
        f"{folder / name} is there already, and no run of the lab wrote it"
        for name in [MARK, *names]
        if os.path.lexists(folder / name) and name.partition(".")[0] not in own
    ]
    if problems:
        raise OptionError.listing(f"Nothing was written; name another {option}, or move these away:", problems)


def _is_begun(path: Path) -> bool:
    try:
        return path.is_file() and _HASH.fullmatch(path.read_text("utf-8")) is not None
    except (OSError, ValueError):
        return False


def row_in(path: Path) -> dict[str, Any] | None:
    """Return the row that an earlier run left; None where there is none.

    Raises:
        CheckpointError: it cannot be read.
        DataError: it is something else.
    """
    if not os.path.lexists(path):
        return None
    refuse_special(path)
    row = read_json(path, "result of an earlier run")
    if not _is_row(row):
        raise DataError(
            f"{path} is no result of an earlier run: a field is missing or of another kind; move it away, or "
            "remove it."
        )
    return dict(row)


def measured_in(path: Path) -> dict[str, Any]:
    """Return what `lab evaluate` wrote.

    Raises:
        CheckpointError: it cannot be read.
        DataError: it is something else.
    """
    found = read_json(path, "evaluation")
    if not _is_measured(found):
        raise DataError(f"{path} is no evaluation: a field is missing or of another kind; remove it to have it anew.")
    return dict(found)


def _is_row(row: Any) -> bool:
    if not _is_measured(row) or not _is_number(row.get("training_seconds"), 1e12):
        return False
    options = row.get("options")
    texts = [row.get(name) for name in ("name", "label", "made_from")]
    return isinstance(options, list) and all(isinstance(text, str) for text in (*texts, *options))


def _is_measured(found: Any) -> bool:
    if not isinstance(found, dict) or not isinstance(scores := found.get("scores"), dict):
        return False
    return _is_number(found.get("general"), 1) and all(
        isinstance(one := scores.get(name), dict)
        and type(one.get("n")) is int
        and 0 < one["n"] < 1e12
        and all(_is_number(one.get(key), 1) for key in ("accuracy", "standard_error"))
        for name in COLUMNS
    )


def _is_number(value: Any, most: float) -> bool:
    return type(value) in (int, float) and 0 <= value <= most
