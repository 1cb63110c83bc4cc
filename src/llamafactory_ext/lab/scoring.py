"""Exact match of answers and of tool calls, with counts and standard errors. Text in, values out."""

import ast
import math
from collections.abc import Sequence
from dataclasses import dataclass

from .example import Example

CALL_MARKER = "API-Request:"
ANSWER_MARKER = "Answer: "


@dataclass(frozen=True)
class Call:
    """One parsed request: a name and its arguments as strings, in any order."""

    name: str
    arguments: tuple[tuple[str, str], ...]


def parse_call(text: str) -> Call | None:
    """Read ``API-Request: [Name(key='value')]``; None where the text is anything else.

    The brackets must hold exactly one call of a plain name with keyword arguments that are literals. Nothing is
    evaluated: the text is only parsed.
    """
    head, marker, body = text.partition(CALL_MARKER)
    if head.strip() or not marker:
        return None
    try:
        parsed = ast.parse(body.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not isinstance(parsed, ast.List) or len(parsed.elts) != 1:
        return None
    call = parsed.elts[0]
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        return None
    arguments: list[tuple[str, str]] = []
    for keyword in call.keywords:
        if keyword.arg is None or not isinstance(keyword.value, ast.Constant):
            return None
        arguments.append((keyword.arg, str(keyword.value.value)))
    if len({key for key, _ in arguments}) < len(arguments):
        return None
    return Call(call.func.id, tuple(sorted(arguments)))


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
