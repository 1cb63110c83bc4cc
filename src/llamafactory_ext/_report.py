"""How errors of this package end: one message without a traceback, and once, whatever the number of processes.

Standard library only, and loaded by path at interpreter start-up (see `_llamafactory_ext_start`). In a distributed run
several processes may meet the same error, and their parents fail in turn: a folder named by an environment variable
tells them what has been said.
"""

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

DEBUG = "LLAMAFACTORY_EXT_DEBUG"
ERROR_FOLDER = "LLAMAFACTORY_EXT_ERROR_FOLDER"
ATTEMPT = "TORCHELASTIC_RESTART_COUNT"


def install_excepthook() -> None:
    """Chain our exception hook in front of the present one, once."""
    previous = sys.excepthook
    if getattr(previous, "of_llamafactory_ext", False):
        return

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        ours = None if os.environ.get(DEBUG) == "1" else _find_our_error(error)
        if ours is not None:
            report(ours)
        elif os.environ.get(DEBUG) == "1" or not error_was_reported():
            previous(kind, error, trace)

    excepthook.of_llamafactory_ext = True  # type: ignore[attr-defined]
    sys.excepthook = excepthook


def report(error: Any) -> None:
    """Print the message of one of our errors, unless another process of this run has already printed the same."""
    text = f"{type(error).__name__}: {error.message}"
    folder = os.environ.get(ERROR_FOLDER)
    if folder and os.path.isdir(folder):
        name = f"{hashlib.sha256(text.encode()).hexdigest()[:16]}-{os.environ.get(ATTEMPT, '0')}"
        try:
            os.close(os.open(os.path.join(folder, name), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
    print(text, file=sys.stderr, flush=True)


def error_was_reported() -> bool:
    """Whether a process of this distributed run has printed one of our errors; later failures follow from it."""
    folder = os.environ.get(ERROR_FOLDER)
    names = os.listdir(folder) if folder is not None and os.path.isdir(folder) else []
    # A worker that torchrun has restarted starts afresh; torchrun itself and its parent see all attempts.
    attempt = os.environ.get(ATTEMPT)
    return any(attempt is None or name.endswith(f"-{attempt}") for name in names)


@contextmanager
def error_folder() -> Iterator[None]:
    """Give this process and its children a folder in which the errors already reported are noted."""
    with tempfile.TemporaryDirectory(prefix="llamafactory_ext_") as folder:
        before = os.environ.get(ERROR_FOLDER)
        os.environ[ERROR_FOLDER] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[ERROR_FOLDER]
            else:
                os.environ[ERROR_FOLDER] = before


def _find_our_error(error: BaseException) -> Any:
    """The error of our family behind `error`: itself, what it was raised from, or what a Ray worker sent."""
    errors = sys.modules.get("llamafactory_ext.errors")
    seen: Any = error
    while errors is not None and seen is not None:
        remote = getattr(seen, "cause", None)
        for candidate in (remote, seen):
            if isinstance(candidate, errors.ExtError):
                return candidate
        seen = seen.__cause__
    return None
