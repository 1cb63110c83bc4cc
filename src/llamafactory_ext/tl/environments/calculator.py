"""A calculator: one tool, `calculate`, and tasks whose right answer is a number.

`tl_environment: llamafactory_ext.tl.environments.calculator:calculator`. The right answer of a record is the last
number of its last turn. Expressions are read, never evaluated as Python.
"""

from __future__ import annotations

import ast
import json
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from ...toolcalls import ToolCall
from .protocol import ANSWER, Action, Step
from .records import final_text

NAME = "calculate"
TOOL: Final[Mapping[str, Any]] = {
    "name": NAME,
    "description": "Calculates a sum, a difference, a product or a quotient of numbers.",
    "parameters": {
        "type": "object",
        "properties": {"expression": {"type": "string", "description": "Such as (12 + 30) * 7."}},
        "required": ["expression"],
    },
}
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?|-?\.\d+")
_LONGEST, _LARGEST = 200, 1e15
_TWO: Final[Mapping[type, Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_ONE: Final[Mapping[type, Callable[[Any], Any]]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


class Calculator:
    """The world of one task: reward 1 for the right number in the answer, else 0.

    Checks: "answer" (the number is right) and "called" (the tool has given a result).
    """

    def __init__(self) -> None:
        self.right, self.called = math.nan, False

    def reset(self, record: Mapping[str, Any]) -> None:
        """See `Environment`."""
        numbers = numbers_in(final_text(record))
        if not numbers:
            raise LookupError("its last turn holds no number to compare answers with")
        self.right = numbers[-1]

    def step(self, action: Action) -> Step:
        """See `Environment`."""
        if action.end != ANSWER:
            return Step(_error(action.problem) if action.problem else [self._result(call) for call in action.calls])
        numbers = numbers_in(action.text)
        right = bool(numbers) and math.isclose(numbers[-1], self.right, rel_tol=1e-6, abs_tol=1e-9)
        return Step("", True, float(right), {"answer": right, "called": self.called})

    def _result(self, call: ToolCall) -> str:
        if call.name != NAME:
            return _error(f"there is no tool named {call.name[:60]}; call {NAME}")
        expression = call.arguments.get("expression")
        if set(call.arguments) != {"expression"} or not isinstance(expression, str):
            return _error(f"{NAME} takes one argument, expression, a text")
        try:
            value = value_of(expression)
        except ValueError as error:
            return _error(str(error))
        self.called = True
        return json.dumps({"result": value})


def calculator() -> Calculator:
    """Return a new calculator; what `tl_environment` names."""
    return Calculator()


def numbers_in(text: str) -> list[float]:
    """Return all numbers of a text, in its order; commas within one are left out."""
    return [float(found.replace(",", "")) for found in _NUMBER.findall(text)]


def value_of(expression: str) -> int | float:
    """Return the value of a sum of numbers in brackets.

    Raises:
        ValueError: it is something else, or too large.
    """
    if len(expression) > _LONGEST:
        raise ValueError(f"the expression has more than {_LONGEST} characters")
    try:
        value = _value(ast.parse(expression.strip(), mode="eval").body)
    except ZeroDivisionError:
        raise ValueError("division by zero") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError, TypeError):
        raise ValueError("the expression is no sum, difference, product or quotient of numbers") from None
    if not abs(value) <= _LARGEST:
        raise ValueError("the result is too large")
    return int(value) if value == int(value) else round(value, 10)


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.UnaryOp) and type(node.op) in _ONE:
        return _ONE[type(node.op)](_value(node.operand))
    if isinstance(node, ast.BinOp) and type(node.op) in _TWO:
        return _TWO[type(node.op)](_value(node.left), _value(node.right))
    raise ValueError("no number")


def _error(text: str) -> str:
    return json.dumps({"error": text})
