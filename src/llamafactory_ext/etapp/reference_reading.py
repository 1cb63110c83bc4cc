"""How the published loop reads replies: labels by their first and last place, arguments by what Python would make.

Nothing is evaluated: an expression that Python would run counts as refused, and the model reads of a wrong format.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

THOUGHT, ACTION, INPUT, ANSWER = "Thought:", "Action:", "Action Input:", "Final Answer:"
FINISH = "finish"
_LONGEST = 1 << 16
_UNDEFINED = frozenset(("true", "false", "null", "NaN", "Infinity", "undefined"))


@dataclass(frozen=True)
class Read:
    """A reply of ReAct.

    Attributes:
        thought: what stands before the action or the answer.
        action: the tool's name, `finish` behind an answer, "" where there is none.
        given: the arguments, or the answer.
    """

    thought: str
    action: str
    given: str


class RefusedError(Exception):
    """Arguments that are no literal.

    Args:
        would_run: whether the published code would have evaluated them.
    """

    def __init__(self, would_run: bool) -> None:
        super().__init__("the arguments are no literal")
        self.would_run = would_run


def read_reply(text: str) -> Read:
    """Return thought, action and arguments of a reply; an answer anywhere in it wins over an action (L4)."""
    head, label, answer = text.rpartition(ANSWER)
    if label:
        _, thinks, thought = head.partition(THOUGHT)
        return Read(thought.strip() if thinks else "", FINISH, answer.strip())
    before, acts, behind = text.partition(ACTION)
    thought = before.removeprefix(THOUGHT).strip() if acts else ""
    name, gives, _ = behind.partition(INPUT)
    _, has_input, given = text.partition(INPUT)
    given = given.replace("\n ", "").strip() if has_input else "{}"
    return Read(thought, name.strip() if gives else "", given)


def literal(text: str, *, null_is_text: bool) -> Any:
    """Return the value of Python literals.

    Args:
        text: of the arguments.
        null_is_text: first put every `null` into quotes, and make None of a value that is such a text (L8).

    Raises:
        RefusedError: anything else.
    """
    if len(text) > _LONGEST:
        raise RefusedError(would_run=False)
    written = text.replace("null", "'null'") if null_is_text else text
    try:
        value = ast.literal_eval(written.lstrip(" \t"))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise RefusedError(_would_run(written)) from None
    if null_is_text and isinstance(value, dict):
        return {key: None if one == "null" else one for key, one in value.items()}
    return value


def _would_run(text: str) -> bool:
    """Tell whether Python would evaluate a text; names of JSON's words are errors there, too (L7)."""
    try:
        tree = ast.parse(text.lstrip(" \t"), mode="eval")
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False
    return not any(isinstance(node, ast.Name) and node.id in _UNDEFINED for node in ast.walk(tree))
