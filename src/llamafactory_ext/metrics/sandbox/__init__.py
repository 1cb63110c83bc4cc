"""Run Python code that nobody has read: no network, no sight of the machine, limits on everything; or not at all.

Linux only, without root: user, mount, process, network, IPC and host-name namespaces; a root of its own that shows the
interpreter and what the caller names, read-only; resource limits; a system-call filter under which no process can be
started and no socket made. Where any of these cannot be had, nothing runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

from ...errors import OptionError

Status = Literal["finished", "failed", "timeout", "killed"]
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); import jail; jail.main()"
_SECONDS_TO_START = 120
_SHOWN = 2_000  # characters of output in an error


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    Attributes:
        seconds: by the clock, from its first line on; about as many of processor time.
        memory_mb: address space.
        disk_mb: its empty working folder, in memory; also the longest file and output.
        open_files: at once.
        threads: at once; no processes at all.
    """

    seconds: int = 10
    memory_mb: int = 1024
    disk_mb: int = 16
    open_files: int = 64
    threads: int = 32


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    Attributes:
        status: "finished" only if it ran to its end; "failed" by an exception, "killed" by a limit or by itself.
        output: what it wrote to standard output.
        error: the exception, or what it wrote to standard error.
    """

    status: Status
    output: str
    error: str


def run_program(
    source: str, *, stdin: str = "", limits: Limits | None = None, readable: Sequence[Path] = ()
) -> Outcome:
    """Run a Python program in isolation.

    Args:
        source: standard library only; its working folder is empty, its environment too.
        stdin: what it reads from standard input.
        limits: default: `Limits()`.
        readable: folders it sees, read-only, beside the interpreter's.

    Raises:
        OptionError: this machine offers no isolation; the program did not run.
    """
    limits = limits or Limits()
    if sys.platform != "linux":
        raise _refusal(f"this is {sys.platform}, and only Linux has what it takes")
    nonce = secrets.token_hex(16)
    job = {
        "source": source,
        "stdin": stdin,
        "readable": [str(Path(path).resolve()) for path in readable],
        "limits": asdict(limits),
        "nonce": nonce,
    }
    with tempfile.TemporaryDirectory() as root, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as error:
        code, told = _run_jail({**job, "root": root}, limits, output, error)
        record = _record(told, nonce)
        written, shown = _text(output, limits.disk_mb << 20), _text(error, _SHOWN)
    if record.get("state") in ("finished", "failed"):
        return Outcome(record["state"], written, str(record["error"]) or shown)
    if record.get("state") == "started":
        return Outcome("timeout" if code is None else "killed", written, shown)
    raise _refusal(str(record.get("error", shown or f"the isolated process ended with {code} before it began")))


def _run_jail(job: dict[str, Any], limits: Limits, output: IO[bytes], error: IO[bytes]) -> tuple[int | None, str]:
    """Exit code, None if the time was up; and what the jail wrote about itself."""
    # A pipe, not a file: the program, which shares the jail's process, cannot take back what was written.
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as told:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BOOT, str(Path(__file__).parent)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=error,
                env={},
                cwd="/",
                pass_fds=[writing],
                start_new_session=True,
            )
        finally:
            os.close(writing)
        with process:
            try:
                with contextlib.suppress(BrokenPipeError):
                    assert process.stdin is not None
                    process.stdin.write(json.dumps({**job, "report": writing}).encode())
                    process.stdin.close()
                # The program's time begins with the first word of the jail, however busy the machine is.
                select.select([reading], [], [], _SECONDS_TO_START)
                code = process.wait(timeout=limits.seconds)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                # The leader ends last: with it goes the process namespace and all within.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        return code, told.read(1 << 20).decode("utf-8", "replace")


def _record(told: str, nonce: str) -> dict[str, Any]:
    """The last line by the jail itself: the program does not know its nonce."""
    for line in reversed(told.splitlines()):
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict) and record.get("nonce") == nonce:
                return record
    return {}


def _text(file: IO[bytes], longest: int) -> str:
    file.seek(0)
    return file.read(longest).decode("utf-8", "replace")


def _refusal(reason: str) -> OptionError:
    return OptionError(
        f"Generated code was not run, since it cannot be isolated here: {reason}. Score on a Linux machine (5.12 or "
        "newer) that lets users make namespaces (`unshare --user --net true` works there; in Docker, "
        "`--security-opt seccomp=unconfined` allows it)."
    )
