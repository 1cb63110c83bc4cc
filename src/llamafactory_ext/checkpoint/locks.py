"""Locks on files, with what the platform has: `flock`, or Windows' own."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]
try:
    import msvcrt
except ImportError:
    msvcrt = None  # type: ignore[assignment]

_HELD = threading.local()  # folders whose lock this thread has
_FAR = 1 << 40  # Windows locks bytes, and nobody may write a locked one: one behind the end of any file


def lock(file: IO[Any]) -> bool:
    """Take the lock of an open file without waiting; it ends with the file or the process.

    Returns:
        Whether it is ours now. On a platform without locks it always is.
    """
    windows: Any = msvcrt
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif windows is not None:
            place = os.lseek(file.fileno(), 0, os.SEEK_CUR)
            os.lseek(file.fileno(), _FAR, os.SEEK_SET)
            try:
                windows.locking(file.fileno(), windows.LK_NBLCK, 1)
            finally:
                os.lseek(file.fileno(), place, os.SEEK_SET)
    except (BlockingIOError, PermissionError):
        return False
    return True


@contextlib.contextmanager
def folder_locked(folder: Path) -> Iterator[None]:
    """Wait for a folder's lock and hold it; no file is left for it. Windows and some network disks have none.

    A block within another of the same thread has it already.
    """
    held: set[str] = _HELD.__dict__.setdefault("folders", set())
    name = os.path.realpath(folder)
    if fcntl is None or name in held:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        held.add(name)
        yield
    finally:
        held.discard(name)
        os.close(descriptor)


@contextlib.contextmanager
def folder_held(folder: Path) -> Iterator[bool]:
    """Hold a folder as long as the block runs; tell whether it is ours, without waiting."""
    if fcntl is None:
        yield True
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        is_ours = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            is_ours = False
        except OSError:
            pass  # some network disks have no locks
        yield is_ours
    finally:
        os.close(descriptor)
