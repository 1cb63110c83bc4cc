"""Files that commands write for the user: only what they wrote themselves, and nobody changed since, is replaced.

Such a file carries its hash in an extended attribute; where a disk has none, a small record beside it does. A file
without it, or with another hash, is somebody's work: the command ends before it begins. What is replaced is replaced
whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import DataError, OptionError
from .atomic import staged_file, write_text
from .locks import folder_locked

RECORD = ".llamafactory_ext.json"
_ATTRIBUTE = "user.llamafactory_ext.sha256"
_PART_BYTES = 1 << 16
_LARGEST_RECORD = 1 << 20


def claim(
    paths: Iterable[Path],
    *,
    inputs: Iterable[Path] = (),
    option: str = "--out",
    known: Iterable[str] = (),
) -> None:
    """Make sure that files may be written, before any work is done.

    Args:
        paths: the files.
        inputs: files and folders that the command reads. None of the paths may be one of them.
        option: by which the user names another place.
        known: SHA-256 of files that a command wrote before there were records.

    Raises:
        OptionError: one is an input, a folder, or a file of somebody else; or its folder cannot be made.
    """
    read = [path for path in inputs if os.path.lexists(path)]
    problems = []
    for path in paths:
        if any(same_file(path, source) for source in read):
            problems.append(f"{path} is read by this command and would be overwritten")
        elif path.is_dir():
            problems.append(f"{path} is a folder")
        elif (fault := special_fault(path)) is not None:
            problems.append(fault)
        elif os.path.lexists(path) and not is_own(path, known):
            problems.append(f"{path} is there already, and this command did not write it or it was changed since")
        elif (fault := _folder_fault(path.parent)) is not None:
            raise OptionError(f"{option} {fault}; nothing was written.")
    if problems:
        raise OptionError.listing(f"Nothing was written; name another {option}, or move these away:", problems)


def claim_folder(folder: Path, *, option: str = "--out") -> None:
    """Make sure that a folder may be made: it is not there, or empty.

    Raises:
        OptionError: it holds something, or is a file.
    """
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if os.path.lexists(folder):
        raise OptionError(
            f"{folder} holds something already, and nothing of it is overwritten; name another {option}, or move it "
            "away."
        )
    if (fault := _folder_fault(folder.parent)) is not None:
        raise OptionError(f"{option} {fault}.")


def claim_plain(folder: Path, *, option: str = "--out") -> None:
    """Make sure that a folder is not that of a model or an adapter, which files of another kind do not belong to.

    Raises:
        OptionError: it is one.
    """
    configured = any((folder / name).is_file() for name in ("config.json", "adapter_config.json"))
    if configured and any(path.suffix in (".safetensors", ".bin") for path in folder.iterdir()):
        raise OptionError(f"{option} {folder} is the folder of a model, and stays as it is; name another folder.")


def is_own(path: Path, known: Iterable[str] = ()) -> bool:
    """Tell whether a command wrote this file and nobody has changed it since; an empty one is nobody's work."""
    target = Path(os.path.realpath(path))
    if not target.is_file():
        return False
    if target.stat().st_size == 0:
        return True
    digest = sha256(target)
    return digest == _marked(target) or digest in _record(target.parent).get(target.name, []) or digest in known


@contextlib.contextmanager
def own_file(path: Path, known: Iterable[str] = ()) -> Iterator[Path]:
    """Give a neighbour of a file to write, which takes its place if the block succeeds.

    Raises:
        DataError: it cannot be written.
        OptionError: meanwhile it has become somebody else's.
    """
    target = Path(os.path.realpath(path))
    try:
        with staged_file(target) as staged:
            yield staged
            digest = sha256(staged)
            if os.path.lexists(target) and sha256(target) != digest and not is_own(target, known):
                raise OptionError(
                    f"{path} was not written by this command, or was changed since, and stays as it is; name another "
                    "place."
                )
            if not _mark(staged, digest):
                with folder_locked(target.parent):
                    before = _record(target.parent).get(target.name, [])
                    _note(target, [*before[-1:], digest])  # both are ours, whenever this process dies
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}); what was there before is as it was. Make room, "
            "check the permissions, or name another place."
        ) from None


def own_text(path: Path, text: str, known: Iterable[str] = ()) -> None:
    """Write a text file of the user's in UTF-8.

    Raises:
        DataError: it holds half a surrogate pair, or cannot be written.
        OptionError: it has become somebody else's.
    """
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{path} was not written: the data holds half a surrogate pair ({error.reason}), which is no text; mend "
            "what was read."
        ) from None
    with own_file(path, known) as staged:
        staged.write_bytes(content)


def own_json(path: Path, data: Any) -> None:
    """Write a JSON file of the user's."""
    own_text(path, as_json(data))


def as_json(data: Any) -> str:
    """Return the text of a JSON file of ours.

    Raises:
        DataError: a number is NaN or infinite.
    """
    try:
        return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError:
        raise DataError("The data holds NaN or an infinite number, which JSON has not; mend what was read.") from None


def sha256(path: Path) -> str:
    """Return a file's hash."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_PART_BYTES):
            digest.update(part)
    return digest.hexdigest()


def refuse_special(path: Path) -> None:
    """Refuse what is neither a file nor a folder: reading a pipe or a device may never end.

    Raises:
        DataError: it is one; what is not there at all is left to the reader.
    """
    if (fault := special_fault(path)) is not None:
        raise DataError(f"{fault}, which may never end; name an ordinary file.")


def special_fault(path: Path) -> str | None:
    """Say that a path is neither a file nor a folder; None where it is one, or nothing is there."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return None
    is_plain = stat.S_ISREG(mode) or stat.S_ISDIR(mode)
    return None if is_plain else f"{path} is a pipe, a device or a socket"


def same_file(path: Path, source: Path) -> bool:
    """Tell whether two names lead to one file; links and letters of either case do not hide it."""
    try:
        if path.samefile(source):
            return True
    except OSError:
        pass
    return os.path.realpath(path) == os.path.realpath(source)


def _folder_fault(folder: Path) -> str | None:
    there = folder
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    if not there.is_dir():
        return f"{there} is no folder; name a folder"
    return None if os.access(there, os.W_OK) else f"{there} is not writable; name another folder"


def _mark(path: Path, digest: str) -> bool:
    """Write the hash to the file's attribute; False where there are none."""
    try:
        os.setxattr(path, _ATTRIBUTE, digest.encode())
    except (OSError, AttributeError):
        return False
    return True


def _marked(path: Path) -> str | None:
    try:
        return os.getxattr(path, _ATTRIBUTE).decode("ascii", "replace")
    except (OSError, AttributeError):
        return None


def _record(folder: Path) -> dict[str, list[str]]:
    """Return the hashes of a folder's own files, by name; none where the record cannot be read."""
    path = folder / RECORD
    try:
        if path.stat().st_size > _LARGEST_RECORD:
            return {}
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    files = content.get("written") if isinstance(content, dict) else None
    if not isinstance(files, dict):
        return {}
    return {name: hashes for name, hashes in files.items() if isinstance(hashes, list)}


def _note(target: Path, hashes: list[str]) -> None:
    found = {name: known for name, known in _record(target.parent).items() if (target.parent / name).exists()}
    write_text(target.parent / RECORD, json.dumps({"written": {**found, target.name: hashes}}, indent=1) + "\n")
