"""Exact match of answers and of tool calls, with counts and standard errors. Text in, values out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import CallParseError
from ..toolcalls import detect
from .example import Example

CALL_FORMAT = "api_bank"
ANSWER_MARKER = "Answer: "


@dataclass(frozen=True)
class Call:
    """One parsed request: a name and its arguments as strings, in any order."""

    name: str
    arguments: tuple[tuple[str, str], ...]


def parse_call(text: str) -> Call | None:
    """Read ``[Name(key='value')]`` anywhere in a reply, as API-Bank does; None unless there is exactly one call."""
    try:
        found = detect(text, call_format=CALL_FORMAT)
    except CallParseError:
        return None
    if len(found) != 1:
        return None
    (call,) = found
    return Call(call.call.name, tuple(sorted((key, str(value)) for key, value in call.call.arguments.items())))


def is_right(example: Example, reply: str) -> bool:
    """Tell whether a reply gives the answer: the same call, or the same text after the last "Answer: "."""
    if example.mark == "tool":
        expected = parse_call(example.answer)
        assert expected is not None, f"the world wrote a call that does not parse: {example.answer}"
        return parse_call(reply) == expected
    return reply.split(ANSWER_MARKER)[-1].strip() == example.answer.split(ANSWER_MARKER)[-1].strip()


@dataclass(frozen=True)
class Score:
    """Accuracy on one set.

    Attributes:
        n: number of items.
        right: number of right answers.
        unparsable: replies that are no call at all (tool sets; 0 elsewhere).
    """

    n: int
    right: int
    unparsable: int = 0

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return self.right / self.n

    @property
    def standard_error(self) -> float:
        """Binomial standard error of the accuracy."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.n)

    def to_dict(self) -> dict[str, float]:
        """Return the score as plain JSON values."""
        return {
            "n": self.n,
            "right": self.right,
            "accuracy": round(self.accuracy, 4),
            "standard_error": round(self.standard_error, 4),
            "unparsable": self.unparsable,
        }


def score(examples: Sequence[Example], replies: Sequence[str]) -> Score:
    """Score the replies to one set of examples."""
    right = sum(is_right(example, reply) for example, reply in zip(examples, replies, strict=True))
    tool = [reply for example, reply in zip(examples, replies, strict=True) if example.mark == "tool"]
    return Score(len(examples), right, sum(parse_call(reply) is None for reply in tool))
