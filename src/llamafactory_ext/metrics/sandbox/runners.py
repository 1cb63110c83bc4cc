"""How a world is started, heard and ended: by our own script, or by bubblewrap where that is installed."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from . import records

BUBBLEWRAP = "bwrap"
WORK = "/work"  # the program's folder within the new root
_SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin")
_MOST_TOLD = 64 << 10  # bytes of all records together
_SECONDS_TO_END = 10


class Started:
    """A started world.

    Attributes:
        told: what its trusted processes said so far.
        is_silent: nobody is left who could say more.
    """

    def __init__(self, process: subprocess.Popen[bytes], report: int, info: int | None) -> None:
        self.told: list[tuple[int, str]] = []
        self.is_silent = False
        self._process = process
        self._report = report
        self._info = info
        self._bytes = self._informed = b""
        self._first: int | None = None  # process 1, as a descriptor
        self._number = 0

    @property
    def pipes(self) -> list[int]:
        """The pipes to listen to."""
        return [] if self.is_silent else [self._report, *([] if self._info is None else [self._info])]

    def hear(self, pipe: int) -> None:
        """Take in what one of the pipes has."""
        part = os.read(pipe, 65536)
        if pipe == self._info:
            self._hear_bubblewrap(part)
            return
        self._bytes += part
        self.told = records.unpack(self._bytes)
        self.is_silent = not part or len(self._bytes) > _MOST_TOLD
        if self._first is None:
            for kind, text in self.told:
                if kind == records.IDENTITY:
                    self._identify(int(text))

    def _hear_bubblewrap(self, part: bytes) -> None:
        self._informed += part
        if not part:
            os.close(self._info or 0)
            self._info = None
        if self._first is None:
            with contextlib.suppress(ValueError, KeyError):  # not yet whole
                self._identify(int(json.loads(self._informed)["child-pid"]))

    def _identify(self, number: int) -> None:
        self._number = number
        with contextlib.suppress(ProcessLookupError):
            self._first = os.pidfd_open(number)

    def threads(self) -> int:
        """Count the program's threads; 0 where that cannot be seen."""
        try:
            inside = Path(f"/proc/{self._number}/task/{self._number}/children").read_text("ascii").split()
            return sum(len(list(Path(f"/proc/{number}/task").iterdir())) for number in inside)
        except OSError:
            return 0

    def end(self) -> None:
        """End every process of the world and wait until none is left; what was told before stays readable."""
        if self._report < 0:
            return
        if self._first is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
            # Process 1 is gone when all others of its world are; its parent takes note of it and ends.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_SECONDS_TO_END)
            os.close(self._first)
        self._process.kill()
        self._process.wait()
        self._drain()
        for pipe in (self._report, self._info):
            if pipe is not None:
                os.close(pipe)
        self._report, self._info, self._first = -1, None, None
        self.is_silent = True

    def _drain(self) -> None:
        deadline = time.monotonic() + 1
        while not self.is_silent and time.monotonic() < deadline and select.select([self._report], [], [], 0)[0]:
            self.hear(self._report)


def listen(worlds: Sequence[Started], seconds: float) -> None:
    """Wait for a word of any of them, at most so long."""
    pipes = {pipe: world for world in worlds for pipe in world.pipes}
    if not pipes:
        time.sleep(seconds)
        return
    for pipe in select.select(list(pipes), [], [], seconds)[0]:
        pipes[pipe].hear(pipe)


def start(job: dict[str, Any], readable: Sequence[str], boot: str, output: IO[bytes], error: IO[bytes]) -> Started:
    """Start a world.

    Args:
        job: what it shall run.
        readable: folders it sees beside the interpreter's.
        boot: the first line of the script, with its folder as argument.
        output: takes the program's standard output.
        error: takes its standard error.
    """
    return _start(job, readable, boot, output, error, by_bubblewrap=bubblewrap() is not None)


def _start(
    job: dict[str, Any],
    readable: Sequence[str],
    boot: str,
    output: IO[bytes],
    error: IO[bytes],
    *,
    by_bubblewrap: bool,
) -> Started:
    folder = str(Path(__file__).resolve().parent)
    shown = _shown(readable)
    report, reporting = os.pipe()
    info = informing = None
    job = {**job, "report": reporting, "parent": os.getpid(), "shown": shown, "shut_in": by_bubblewrap}
    job["work"] = _free_name(WORK, shown)
    command = [sys.executable, "-I", "-S", "-c", boot, folder]
    passed = [reporting, *job["channel"]]
    if by_bubblewrap:
        info, informing = os.pipe()
        passed.append(informing)
        inside = _free_name("/jail", shown)
        words = _bubblewrap_words(shown, job, informing)
        command = [*words, "--ro-bind", folder, inside, "--remount-ro", "/", str(Path(sys.executable).resolve())]
        command += ["-I", "-S", "-c", boot, inside]
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=error,
            env={},
            cwd="/",
            pass_fds=passed,
            start_new_session=True,
        )
    except OSError:
        for pipe in (report, info):
            if pipe is not None:
                os.close(pipe)
        raise
    finally:
        for pipe in (reporting, informing):
            if pipe is not None:
                os.close(pipe)
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(job).encode())
        process.stdin.close()
    return Started(process, report, info)


def _shown(readable: Sequence[str]) -> list[str]:
    """Return all folders that the program sees, links beside what they lead to."""
    paths: list[str] = []
    interpreter = [path for path in (sys.base_prefix, sys.base_exec_prefix) if path not in ("", "/")]
    for path in (*_SYSTEM, *interpreter, *readable):
        if Path(path).is_symlink() and path not in _SYSTEM:
            paths.append(str(Path(path).resolve()))
        paths.append(path)
    return list(dict.fromkeys(paths))


def _free_name(name: str, shown: Sequence[str]) -> str:
    """Return the name, or one like it, under which nothing is shown."""
    number = 0
    while any(f"{path}/".startswith(f"{name}{number or ''}/") for path in shown):
        number += 1
    return f"{name}{number or ''}"


@functools.cache
def bubblewrap() -> str | None:
    """Return the path of a bubblewrap that works here."""
    path = shutil.which(BUBBLEWRAP)
    if path is None:
        return None
    job = {"limits": {"disk_mb": 1}, "work": WORK}
    words = _bubblewrap_words(["/usr", "/lib", "/lib64", "/bin"], job, None, path)
    with contextlib.suppress(OSError, subprocess.TimeoutExpired), tempfile.TemporaryFile() as ignored:
        ended = subprocess.run(
            [*words, "/bin/true"],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=ignored,
            stderr=ignored,
            env={},
            timeout=60,
        )
        return path if ended.returncode == 0 else None
    return None


def _bubblewrap_words(
    shown: Sequence[str], job: dict[str, Any], informing: int | None, path: str | None = None
) -> list[str]:
    words = [path or bubblewrap() or BUBBLEWRAP, "--unshare-all", "--die-with-parent", "--new-session"]
    words += ["--cap-drop", "ALL", "--as-pid-1"]
    for folder in shown:
        if Path(folder).is_symlink():
            words += ["--symlink", str(Path(folder).readlink()), folder]
        elif Path(folder).is_dir():
            words += ["--ro-bind", folder, folder]
    for device in ("/dev/null", "/dev/zero", "/dev/urandom"):
        words += ["--dev-bind", device, device]
    words += ["--size", str(job["limits"]["disk_mb"] << 20), "--tmpfs", job["work"]]
    return words + ([] if informing is None else ["--info-fd", str(informing)])
