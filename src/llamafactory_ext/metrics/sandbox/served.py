"""A program in its own world whose function is called from here, call after call, as long as it lives."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from . import (
    SECONDS_BETWEEN_LOOKS,
    SECONDS_TO_START,
    Limits,
    NotBegunError,
    World,
    begun,
    check_platform,
    runners,
    values,
)


class EndedError(Exception):
    """The program ended, or had to be ended, before it answered."""


class Served:
    """A program's function; a context manager.

    Args:
        source: standard library only; defines the function.
        entry: the function's name.
        limits: of the whole program; its processor time too.
        readable: folders it sees, read-only, beside the interpreter's.

    Raises:
        OptionError: this machine offers no isolation; the program did not run.
    """

    def __init__(self, source: str, entry: str, limits: Limits, readable: Sequence[Path] = ()) -> None:
        check_platform()
        job = {"role": "serve", "source": source, "entry": entry, "stdin": ""}
        begun(lambda: self._start(job, limits, readable))

    def _start(self, job: dict[str, Any], limits: Limits, readable: Sequence[Path]) -> None:
        asked, self._asking = os.pipe()
        self._heard, answering = os.pipe()
        try:
            self._world = World(job, limits, readable, (asked, answering))
        except BaseException:
            self._close()
            raise
        finally:
            os.close(asked)
            os.close(answering)
        try:
            self._wait()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def _wait(self) -> None:
        """Wait until the program may have begun, which takes its time on a busy machine."""
        deadline = time.monotonic() + SECONDS_TO_START
        while not self._world.has_begun and not self._world.has_ended and time.monotonic() < deadline:
            runners.listen([self._world.started], SECONDS_BETWEEN_LOOKS)
        if not self._world.has_begun:
            self._world.outcome()  # says why, if anybody told
            raise NotBegunError

    def _raise(self, otherwise: str) -> NoReturn:
        """Say how the program ended."""
        raise EndedError(self._world.outcome().error.strip() or otherwise)

    def __enter__(self) -> Served:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._close()
        self._world.__exit__(kind, error, _)

    def _close(self) -> None:
        for pipe in (self._asking, self._heard):
            os.close(pipe)

    def call(self, *given: Any, seconds: float) -> Any:
        """Call the function with plain values and return the plain value that it returns.

        Args:
            given: its arguments.
            seconds: after which the program is ended.

        Raises:
            EndedError: it ended, took too long or answered with no plain value; it cannot be called again.
            OptionError: it could not be isolated.
        """
        late = threading.Timer(seconds, self._world.started.end)
        late.start()
        answer = None
        try:
            with contextlib.suppress(OSError, values.MalformedError):
                values.send(self._asking, values.encode([list(given), {}]))
                answer = values.receive(self._heard)
        finally:
            late.cancel()
            late.join()
        if not isinstance(answer, list) or len(answer) < 2:
            self._raise(f"no answer within {seconds} seconds")
        if answer[0] != "returned":
            raise EndedError(str(answer[-1]).strip())
        try:
            return values.decode(answer[1])
        except values.MalformedError as error:
            raise EndedError(str(error)) from None
