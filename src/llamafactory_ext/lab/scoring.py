"""Exact match of answers and of tool calls, with counts and standard errors. Text in, values out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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


NO_CALL = "NO_API_CALL"
MISTAKES = (NO_CALL, "API_NAME_MISMATCH", "INVALID_INPUT_PARAMETER", "MISS_INPUT_ARGUMENT", "INPUT_MISMATCH")
"""API-Bank's categories of a wrong call that need no execution (CITI, arXiv:2409.13202, Table 7)."""


def mistake(example: Example, reply: str) -> str:
    """Return the category of a reply to a tool request; "" for a right call."""
    expected, made = parse_call(example.answer), parse_call(reply)
    assert expected is not None
    if made is None:
        return NO_CALL
    if made.name != expected.name:
        return "API_NAME_MISMATCH"
    keys, due = {key for key, _ in made.arguments}, {key for key, _ in expected.arguments}
    if keys - due:
        return "INVALID_INPUT_PARAMETER"
    if due - keys:
        return "MISS_INPUT_ARGUMENT"
    return "" if made == expected else "INPUT_MISMATCH"


@dataclass(frozen=True)
class Score:
    """Accuracy on one set.

    Attributes:
        n: number of items.
        right: number of right answers.
        mistakes: how many replies fall into each category of `MISTAKES` (tool sets; empty elsewhere).
    """

    n: int
    right: int
    mistakes: Mapping[str, int] = field(default_factory=dict)

    @property
    def unparsable(self) -> int:
        """Replies that are no call at all."""
        return self.mistakes.get(NO_CALL, 0)

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return self.right / self.n

    @property
    def standard_error(self) -> float:
        """Binomial standard error of the accuracy."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.n)

    def to_dict(self) -> dict[str, Any]:
        """Return the score as plain JSON values."""
        found: dict[str, Any] = {
            "n": self.n,
            "right": self.right,
            "accuracy": round(self.accuracy, 4),
            "standard_error": round(self.standard_error, 4),
            "unparsable": self.unparsable,
        }
        return found | ({"mistakes": dict(self.mistakes)} if self.mistakes else {})


def score(examples: Sequence[Example], replies: Sequence[str]) -> Score:
    """Score the replies to one set of examples."""
    right = sum(is_right(example, reply) for example, reply in zip(examples, replies, strict=True))
    found = [
        mistake(example, reply) for example, reply in zip(examples, replies, strict=True) if example.mark == "tool"
    ]
    return Score(len(examples), right, {name: found.count(name) for name in MISTAKES} if found else {})
