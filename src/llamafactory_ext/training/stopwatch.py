"""How long the parts of a run take that are no steps, and how much they did: what an estimate is made of."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Laps:
    """Seconds and amounts by the name of the part.

    Attributes:
        seconds: that each part has taken.
        done: how much it did: examples, for importance and the report.
        planned: how much a whole run does.
        own_clock: whether the processor's time of this process counts, which other work on the machine leaves alone.
        asked: examples of each task that the whole run looks at, where this one looks at fewer.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)
    planned: dict[str, int] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    own_clock: bool = False

    def count(self, name: str, samples: int, rows: Iterable[int]) -> None:
        """Note how many examples a part looks at.

        Args:
            name: of the part.
            samples: the most of each task.
            rows: how many each task has.
        """
        rows = list(rows)
        self.done[name] = sum(min(samples, count) for count in rows)
        self.planned[name] = sum(min(self.asked.get(name, samples), count) for count in rows)

    def clear(self) -> None:
        """Forget everything."""
        for part in (self.seconds, self.done, self.planned, self.asked):
            part.clear()


laps = Laps()
"""Those of this process."""


def now() -> float:
    """Return seconds by the clock that counts: the wall's, or that of this process alone for a benchmark."""
    return time.process_time() if laps.own_clock else time.monotonic()


@contextmanager
def lap(name: str) -> Iterator[None]:
    """Return time what happens within."""
    began = now()
    try:
        yield
    finally:
        laps.seconds[name] = laps.seconds.get(name, 0.0) + now() - began
