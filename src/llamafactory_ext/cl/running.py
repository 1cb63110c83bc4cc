"""The commands of a comparison: processes of their own, which end when the comparison is ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from ..errors import InterruptedRun, UpstreamError
from ..options.command_file import CHECKS

_PATIENCE = 60  # seconds that an ended training may take to keep its checkpoint


def run_command(command: Sequence[str], log: Path) -> None:
    """Run a command to its end, its output in a file; whatever ends this process ends it too.

    Raises:
        UpstreamError: it failed; the message names the log.
        InterruptedRun: Ctrl-C or SIGTERM has come; the command has ended too.
    """
    environment = dict(os.environ, HF_HUB_OFFLINE="1") | {CHECKS: "1"}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file, _terminable():
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True)
        try:
            code = process.wait()
        except BaseException as error:
            _end(process)
            if isinstance(error, KeyboardInterrupt):
                number = error.number if isinstance(error, InterruptedRun) else signal.SIGINT
                raise InterruptedRun(number, "Finished steps are kept; the same command goes on.") from None
            raise
    if code:
        last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["(empty)"]
        raise UpstreamError(
            f"{Path(command[0]).name} {command[1] if len(command) > 1 else ''} failed with exit code {code}: "
            f"{last[0][:300]}\nRead {log}, then run the same command again; finished steps are kept."
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and all that it has started, and wait for it; a second Ctrl-C does not wait."""
    try:
        _tell(process, signal.SIGTERM)
        process.wait(_PATIENCE)
    except (subprocess.TimeoutExpired, KeyboardInterrupt, SystemExit):
        pass
    finally:
        _tell(process, getattr(signal, "SIGKILL", signal.SIGTERM))
        process.wait()


def _tell(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)  # its own group, see start_new_session
        else:
            process.terminate()


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the block as an exception, unless somebody takes it already."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def take(number: int, frame: FrameType | None) -> Any:
        raise InterruptedRun(number)

    signal.signal(signal.SIGTERM, take)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
