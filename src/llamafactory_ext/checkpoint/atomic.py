"""Files and folders that appear whole or not at all: stage, fsync, rename.

What is staged has a name that nobody else gives: it ends with `.llamafactory_ext.tmp` or `.old`. Its writer holds its
lock, so that a later one knows which were left by the dead, and removes these alone.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .locks import folder_held, lock

STAGED, REMOVED = ".llamafactory_ext.tmp", ".llamafactory_ext.old"


@contextlib.contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Give a neighbour of `path` to write; it takes its place, whole and on the disk, if the block succeeds.

    A link stays a link. What killed writers of the same file left is removed.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_staged(target.parent, target.name)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}{STAGED}")
    try:
        with temporary.open("xb") as held:
            lock(held)
            yield temporary
            _force(temporary)
            if os.name != "nt":  # where an open file cannot be renamed
                temporary.replace(target)
        if os.name == "nt":
            temporary.replace(target)
        sync(target.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def staged_folder(path: Path) -> Iterator[Path]:
    """Give an empty neighbour of a folder to fill; it goes when the block ends, unless it was published."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for old in path.parent.glob(f".{_literal(path.name)}.*{STAGED}"):
        if old.is_dir():
            with contextlib.suppress(OSError), folder_held(old) as is_ours:
                if is_ours:
                    shutil.rmtree(old)
    staged = path.with_name(f".{path.name}.{secrets.token_hex(6)}{STAGED}")
    staged.mkdir()
    try:
        with folder_held(staged):
            yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _force(path: Path) -> None:
    """Force a file to disk; a full disk may show only now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def remove_staged(folder: Path, name: str = "*") -> None:
    """Remove what killed writers left of a file, or of all files of a folder; living writers keep theirs."""
    for path in folder.glob(f".{_literal(name)}.*{STAGED}"):
        with contextlib.suppress(OSError):
            if path.is_file():
                with path.open("rb") as file:
                    if lock(file):
                        path.unlink()


def _literal(name: str) -> str:
    return name if name == "*" else "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def write_json(path: Path, data: Any) -> None:
    """Write `data` as JSON; readers see the old file or the new one, never a part."""
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8; readers see the old file or the new one, never a part."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file; readers see the old one or the new one, never a part."""
    with staged_file(path) as staged:
        staged.write_bytes(content)


def read_json(path: Path, what: str) -> Any:
    """Return the content of a JSON file.

    Raises:
        CheckpointError: the file is missing or malformed; the message calls it `what`.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no {what} here; check the path.") from None
    except OSError as error:
        raise CheckpointError(f"{path}: the {what} cannot be read ({error.strerror}); check the path.") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: the {what} is damaged ({error}); delete it to have it made anew.") from None


def read_object(path: Path, what: str) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        CheckpointError: the file is missing, malformed or holds something else; the message calls it `what`.
    """
    found = read_json(path, what)
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: the {what} is damaged (it holds no object); restore it, or train again.")
    return found


def publish_folder(staged: Path, path: Path) -> None:
    """Put a finished folder in the place of `path`; readers see it whole or not at all."""
    for file in staged.rglob("*"):
        sync(file)
    sync(staged)
    old = _aside(path) if path.exists() else None
    staged.rename(path)
    sync(path.parent)
    if old is not None:
        shutil.rmtree(old)


def discard_folder(path: Path) -> None:
    """Remove a folder; from the first moment on nobody finds a part of it under its name."""
    shutil.rmtree(_aside(path))


def _aside(path: Path) -> Path:
    old = path.with_name(f".{path.name}.{secrets.token_hex(6)}{REMOVED}")
    path.rename(old)
    return old


def sync(path: Path) -> None:
    """Force a file or folder to disk where the file system allows it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
