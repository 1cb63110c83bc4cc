"""How long work shows where it is: bars on a terminal, lines now and then in a file."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
EVERY = 30.0
"""Seconds between two lines of one piece of work whose state stays the same."""


LONGEST = 40
"""Characters of a name beside a bar: a longer one leaves no room for the bar and the time."""


def short(name: str, longest: int = LONGEST) -> str:
    """Return a name on one line without its middle where it is long; its end often tells it from others."""
    line = " ".join(_UNSEEN.sub(" ", name).split())
    if len(line) <= longest:
        return line
    last = (longest - 3) // 2
    return f"{line[: longest - 3 - last]}...{line[-last:]}"


@dataclass
class _Piece:
    label: str
    first: int
    started: float
    said: float
    state: str = ""
    is_whole: bool = False


class Shown:
    """Pieces of work, side by side or alone, and how far each is.

    Args:
        console: where it is shown; a terminal gets bars.
        clock: seconds that never go back.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(30),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._console, self._clock = console, clock
        self._bars = Progress(*columns, console=console) if console.is_terminal else None
        self._pieces: list[_Piece] = []

    def __enter__(self) -> Shown:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def add(self, label: str, done: int = 0, total: int | None = None) -> int:
        """Announce a piece of work, of which `done` of `total` is there already; return its number."""
        now, label = self._clock(), short(label)
        self._pieces.append(_Piece(label, done, now, now))
        if self._bars:
            return self._bars.add_task(label, completed=done, total=total, start=total is not None, state="waiting")
        return len(self._pieces) - 1

    def tell(self, piece: int, state: str = "", done: int = 0, total: int | None = None) -> None:
        """Show how far a piece is.

        Args:
            piece: its number.
            state: what it does at present, in a word or two.
            done: how much of it is done.
            total: how much there is to do; None where that is unknown.
        """
        if self._bars:
            counted = f"{state} {done}/{total}".strip() if total else state
            self._bars.start_task(TaskID(piece))
            self._bars.update(TaskID(piece), completed=done, total=total, state=counted)
            return
        row, now = self._pieces[piece], self._clock()
        if state != row.state:  # something else begins, with counts of its own
            row.first, row.started, row.is_whole = done, now, False
        becomes_whole = bool(total) and done == total and not row.is_whole
        row.is_whole = bool(total) and done == total
        if state != row.state or now - row.said >= EVERY or becomes_whole:
            row.state, row.said = state, now
            self._console.print(
                self._line(row, done, total, now - row.started), markup=False, highlight=False, soft_wrap=True
            )

    @staticmethod
    def _line(row: _Piece, done: int, total: int | None, seconds: float) -> str:
        parts = [f"{row.state} {done}/{total}".strip() if total else row.state, f"after {_time(seconds)}"]
        if total and row.first < done < total:
            parts.append(f"about {_time(seconds / (done - row.first) * (total - done))} left")
        return f"{row.label}: {', '.join(part for part in parts if part)}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
