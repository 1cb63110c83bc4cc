"""When the importance of a task has seen enough examples: its two halves would choose the same components."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..training.processes import from_main
from .importance import PartScores
from .importance_file import TOOL, jaccard
from .selection import End, extremes

FIRST = 64  # examples before the first look; each later one comes after twice as many


@dataclass(frozen=True)
class Stable:
    """Whether both halves of what a task has seen choose alike.

    Tool data decides which components are adapted and general data which are tuned in full, so a task is asked for
    the end of the ranking that it decides.

    Attributes:
        threshold: least Jaccard index of the two choices.
        top, bottom: shares of components that are adapted, and tuned in full.
        end: of the ranking that the adapted ones are taken from.
    """

    threshold: float
    top: float
    bottom: float
    end: End = "top"

    def __call__(self, mark: str, first: PartScores, second: PartScores) -> bool:
        """Return whether the halves agree; the main process decides for all."""
        if not first.trained or not second.trained:
            return from_main(False)
        end, share = (self.end, self.top) if mark == TOOL else ("bottom", self.bottom)
        choices = [extremes(half.scores(), share, end) for half in (first, second)]
        return from_main(jaccard(*choices) >= self.threshold)


def blocks(drawn: Sequence[int], *, growing: bool) -> Iterator[list[int]]:
    """Cut rows into what is scored before each look, every block as long as all before it; one block otherwise.

    Args:
        drawn: in the order in which they were drawn, so that each beginning is a sample of its own.
        growing: whether there are looks.
    """
    start, end = 0, FIRST if growing else len(drawn)
    while start < len(drawn):
        yield sorted(drawn[start:end])
        start, end = end, 2 * end
