"""Run Python code that nobody has read: no network, no sight of the machine, limits on everything; or not at all.

Linux only, without root: user, mount, process, network, IPC and host-name namespaces; a root of its own that shows the
interpreter and what the caller names, read-only; resource limits; a system-call filter under which no process can be
started and no socket made. Where bubblewrap is installed, it makes the namespaces. Where any of these cannot be had,
nothing runs.

The caller's clock decides when time is up; then process 1 of the program's world is killed, by a descriptor and not by
a number, and the kernel ends all others with it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

from ...errors import OptionError
from . import records, runners

T = TypeVar("T")
Status = Literal["finished", "failed", "timeout", "killed"]
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); import jail; jail.main()"
SECONDS_TO_START = 120
_MOST_STARTS = 3
SECONDS_BETWEEN_LOOKS = 0.05
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

    That it "finished" is its own process's word: a program with `assert` inside can make any of them hold. A verdict
    on code that may be hostile takes `run_tests`.

    Args:
        source: standard library only; its working folder is empty, its environment too.
        stdin: what it reads from standard input.
        limits: default: `Limits()`.
        readable: folders it sees, read-only, beside the interpreter's.

    Raises:
        OptionError: this machine offers no isolation; the program did not run.
    """
    limits = limits or Limits()
    check_platform()
    job = {"role": "program", "source": source, "stdin": stdin}

    def once() -> Outcome:
        with World(job, limits, readable) as world:
            _watch([world], limits, lambda: world.has_ended)
            return world.outcome()

    return begun(once)


def run_tests(program: str, tests: str, *, entry: str, context: str = "", limits: Limits | None = None) -> Outcome:
    """Run tests of a program's function; program and tests in two worlds of their own, joined by plain values.

    Args:
        program: defines the function; whatever it does, it cannot touch the tests or their verdict.
        tests: call the function by its name, and raise where it is wrong.
        entry: the function's name.
        context: what the tests may use beside it, as the imports and helpers of a task's prompt.
        limits: of each of the two; default: `Limits()`.

    Returns:
        "finished" only if all tests ran to their end. Its output is the program's.

    Raises:
        OptionError: this machine offers no isolation; the program did not run.
    """
    limits = limits or Limits()
    check_platform()
    return begun(lambda: _run_tests(program, tests, entry, context, limits))


def begun(once: Callable[[], T]) -> T:
    """Do something again where something else ended its world before the program's first line ran.

    Raises:
        OptionError: that happens again and again.
    """
    for _ in range(_MOST_STARTS):
        with contextlib.suppress(NotBegunError):
            return once()
    raise _refusal("the isolated process ended before it began")


def _run_tests(program: str, tests: str, entry: str, context: str, limits: Limits) -> Outcome:
    asked, asking = os.pipe()
    heard, answering = os.pipe()
    ends = [asked, asking, heard, answering]
    try:
        tested = {"role": "serve", "source": program, "entry": entry, "stdin": ""}
        testing = {"role": "test", "source": tests, "entry": entry, "context": context, "stdin": ""}
        with (
            World(tested, limits, (), (asked, answering)) as answers,
            World(testing, limits, (), (asking, heard)) as asks,
        ):
            while ends:
                os.close(ends.pop())
            _watch([asks, answers], limits, lambda: asks.has_ended and (answers.has_ended or not asks.is_abandoned))
            verdict, own = asks.outcome(), answers.outcome()
    finally:
        for end in ends:
            os.close(end)
    if verdict.status == "failed" and asks.is_abandoned:
        # The tests met a closed pipe: how the program ended is the better answer, but it cannot have passed.
        return own if own.status in ("failed", "timeout") else Outcome("killed", own.output, own.error)
    return Outcome(verdict.status, own.output, verdict.error)


class NotBegunError(Exception):
    """A world ended without a word before its program began."""


class World:
    """A program in its own world, from its start to the end of everything in it."""

    def __init__(
        self, job: dict[str, Any], limits: Limits, readable: Sequence[Path], channel: tuple[int, ...] = ()
    ) -> None:
        self._limits = limits
        self._files = contextlib.ExitStack()
        try:
            root = self._files.enter_context(tempfile.TemporaryDirectory())
            self._output: IO[bytes] = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  # the stack closes it
            self._error: IO[bytes] = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  # the stack closes it
            shown = [str(Path(path).resolve()) for path in readable]
            whole = {**job, "limits": asdict(limits), "channel": channel, "root": root}
            self.started = runners.start(whole, shown, _BOOT, self._output, self._error)
        except BaseException:
            self._files.close()
            raise
        self.is_late = False
        self.too_many_threads = False

    def __enter__(self) -> World:
        return self

    def __exit__(self, *exception: object) -> None:
        self.started.end()
        self._files.close()

    @property
    def has_ended(self) -> bool:
        """Tell whether it said how it ended, or ends without a word."""
        return self.started.is_silent or any(kind not in _GOING for kind, _ in self.started.told)

    @property
    def has_begun(self) -> bool:
        """Tell whether the program's first line may have run."""
        return any(kind == records.STARTED for kind, _ in self.started.told)

    @property
    def is_abandoned(self) -> bool:
        """Tell whether tests ended since the program that they call had."""
        return any(kind == records.FAILED and "ProgramEndedError" in text for kind, text in self.started.told)

    def look(self) -> None:
        """Take in what was told, and count threads, which no limit does for root."""
        if self.started.threads() > self._limits.threads:
            self.too_many_threads = True
            self.started.end()

    def outcome(self) -> Outcome:
        """End everything and say how the program ended.

        Raises:
            OptionError: it cannot run here.
            NotBegunError: it did not run, for no reason that anybody told.
        """
        self.started.end()
        written, shown = _text(self._output, self._limits.disk_mb << 20), _text(self._error, _SHOWN)
        last, text = self.started.told[-1] if self.started.told else (records.REFUSED, "")
        if last == records.FINISHED:
            return Outcome("finished", written, text or shown)
        if last == records.FAILED:
            return Outcome("failed", written, text or shown)
        if self.has_begun:
            if self.too_many_threads:
                return Outcome("killed", written, f"it ran more than {self._limits.threads} threads")
            late = self.is_late and last != records.KILLED
            return Outcome("timeout" if late else "killed", written, shown.strip() or text)
        reason = (text if last == records.REFUSED else "") or shown.strip()
        raise _refusal(reason) if reason else NotBegunError


_GOING = (records.IDENTITY, records.STARTED)


def _watch(worlds: Sequence[World], limits: Limits, is_over: Callable[[], bool]) -> None:
    """Wait until all is over or time is up; the time begins when the last has begun, however busy the machine is."""
    deadline = time.monotonic() + SECONDS_TO_START
    is_counting = False
    while not is_over():
        if not is_counting and all(world.has_begun or world.has_ended for world in worlds):
            deadline, is_counting = time.monotonic() + limits.seconds, True
        left = deadline - time.monotonic()
        if left <= 0:
            for world in worlds:
                world.is_late = True
            return
        runners.listen([world.started for world in worlds], min(left, SECONDS_BETWEEN_LOOKS))
        for world in worlds:
            world.look()


def _text(file: IO[bytes], longest: int) -> str:
    file.seek(0)
    return file.read(longest).decode("utf-8", "replace")


def check_platform() -> None:
    """Make sure that this is Linux.

    Raises:
        OptionError: it is not.
    """
    if sys.platform != "linux":
        raise _refusal(f"this is {sys.platform}, and only Linux has what it takes")


def _refusal(reason: str) -> OptionError:
    return OptionError(
        f"Generated code was not run, since it cannot be isolated here: {reason}. Score on a Linux machine (5.12 or "
        "newer) that lets users make namespaces (`unshare --user --net true` works there; in Docker, "
        "`--security-opt seccomp=unconfined` allows it), or install bubblewrap (`bwrap`)."
    )
