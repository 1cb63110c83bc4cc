"""Files and folders that appear whole or not at all: stage, fsync, rename."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from ..errors import CheckpointError


def write_json(path: Path, data: Any) -> None:
    """Writes `data` as JSON; readers see the old file or the new one, never a part."""
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8; readers see the old file or the new one, never a part."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file; readers see the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.tmp")
    with staged.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)
    sync(path.parent)


def read_json(path: Path, what: str) -> Any:
    """The content of a JSON file.

    Raises:
        CheckpointError: the file is missing or malformed; the message calls it `what`.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no {what} here; check the path.") from None
    except OSError as error:
        raise CheckpointError(f"{path}: the {what} cannot be read ({error.strerror}); check the path.") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: the {what} is damaged ({error}); delete it to have it made anew.") from None


def publish_folder(staged: Path, path: Path) -> None:
    """Puts a finished folder in the place of `path`; readers see it whole or not at all."""
    for file in staged.rglob("*"):
        sync(file)
    sync(staged)
    if path.exists():
        discard_folder(path)
    staged.rename(path)
    sync(path.parent)


def discard_folder(path: Path) -> None:
    """Removes a folder; from the first moment on nobody finds a part of it under its name."""
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    path.rename(old)
    shutil.rmtree(old)


def sync(path: Path) -> None:
    """Forces a file or folder to disk where the file system allows it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
