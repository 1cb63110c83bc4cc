"""Whether an answer is right, by the name of a metric. Text in, yes or no out."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ..errors import CallParseError
from ..toolcalls import detect
from .metrics import standard_error

_NO_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)
_ANSWER: Final = "Answer:"


@dataclass(frozen=True)
class Score:
    """Right answers on a set of items."""

    right: int
    n: int

    @property
    def value(self) -> float:
        """Share of right answers."""
        return self.right / self.n

    def to_dict(self) -> dict[str, float | int]:
        """Return the score as plain JSON values."""
        return {"score": self.value, "right": self.right, "n": self.n, "se": standard_error(self.value, self.n)}


def exact(answer: str, gold: str) -> bool:
    """Return whether two texts are the same but for case, punctuation and blanks, as O-LoRA's scorer has it."""
    return _plain(answer) == _plain(gold)


def strict(answer: str, gold: str) -> bool:
    """Return whether two texts are the same but for blanks around them."""
    return answer.strip() == gold.strip()


def final_answer(answer: str, gold: str) -> bool:
    """Return whether what stands behind the last "Answer:" is the same; the whole texts without one."""
    return answer.rpartition(_ANSWER)[2].strip() == gold.rpartition(_ANSWER)[2].strip()


def call(answer: str, gold: str) -> bool:
    """Return whether two texts hold the same tool calls, in order."""
    wanted = _calls(gold)
    return bool(wanted) and _calls(answer) == wanted


METRICS: Final[dict[str, Callable[[str, str], bool]]] = {
    "exact": exact,
    "strict": strict,
    "answer": final_answer,
    "call": call,
}


def score(answers: Sequence[str], golds: Sequence[str], metric: str) -> Score:
    """Return how many answers are right.

    Args:
        answers: what the model wrote, item by item.
        golds: what is right.
        metric: one of METRICS.
    """
    right = sum(METRICS[metric](*pair) for pair in zip(answers, golds, strict=True))
    return Score(right, len(golds))


def _plain(text: str) -> str:
    return " ".join(text.lower().translate(_NO_PUNCTUATION).split())


def _calls(text: str) -> list[tuple[str, dict[str, object]]] | None:
    try:
        return [(found.call.name, dict(found.call.arguments)) for found in detect(text)]
    except CallParseError:
        return None
