"""Work out a python expression that stands for an argument's value, within limits and without running code.

BFCL's published decoder hands binary operations such as `1/6` to python's `eval`. Here constants, containers,
operators and a few pure built-in functions are worked out with python's own semantics. Everything else is an error:
other names, methods, comprehensions, f-strings, and results too large to be an answer.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

_MAX_ITEMS: Final = 1_000_000
_MAX_BITS: Final = 1_000_000
_WIDE: Final = re.compile(r"%(?:\([^)]*\))?[ #0\-+\d.]*?(?:\d{5}|\*)")  # a field of 10,000 characters, or of any width
_BINARY: Final[Mapping[type, Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.BitAnd: operator.and_,
    ast.MatMult: operator.matmul,
}
_UNARY: Final[Mapping[type, Callable[[Any], Any]]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Invert: operator.invert,
    ast.Not: operator.not_,
}
_COMPARED: Final[Mapping[type, Callable[[Any, Any], Any]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda one, other: one in other,
    ast.NotIn: lambda one, other: one not in other,
}
_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    function.__name__: function
    for function in (abs, bool, complex, divmod, float, int, len, list, max, min, round, set, sorted, str, sum, tuple)
}


def evaluate(node: ast.expr) -> Any:
    """Return the value of an expression.

    Raises:
        ValueError: an expression that is not worked out here, or a result beyond the limits.
        TypeError, ArithmeticError, LookupError, RecursionError: as python itself raises them.
    """
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp):
        return _UNARY[type(node.op)](evaluate(node.operand))
    if isinstance(node, ast.BinOp):
        return _binary(node.op, evaluate(node.left), evaluate(node.right))
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        items = [evaluate(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items) if isinstance(node, ast.Tuple) else set(items)
    if isinstance(node, ast.Dict) and None not in node.keys:
        return {evaluate(key): evaluate(value) for key, value in zip(node.keys, node.values, strict=True) if key}
    if isinstance(node, ast.IfExp):
        return evaluate(node.body if evaluate(node.test) else node.orelse)
    if isinstance(node, ast.Subscript):
        return evaluate(node.value)[_index(node.slice)]
    return _logical(node)


def _logical(node: ast.expr) -> Any:
    if isinstance(node, ast.BoolOp):
        value: Any = None
        for part in node.values:
            value = evaluate(part)
            if bool(value) is isinstance(node.op, ast.Or):
                break
        return value
    if isinstance(node, ast.Compare):
        left, result = evaluate(node.left), True
        for kind, right_node in zip(node.ops, node.comparators, strict=True):
            right = evaluate(right_node)
            result = _COMPARED[type(kind)](left, right)
            if not result:
                break
            left = right
        return result
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id == "pow" and len(node.args) == 2:
            return _binary(ast.Pow(), evaluate(node.args[0]), evaluate(node.args[1]))
        if node.func.id in _FUNCTIONS:
            return _FUNCTIONS[node.func.id](*[evaluate(argument) for argument in node.args])
    raise ValueError(f"{type(node).__name__} is not worked out in an expression")


def _index(node: ast.expr) -> Any:
    if isinstance(node, ast.Slice):
        return slice(*(None if part is None else evaluate(part) for part in (node.lower, node.upper, node.step)))
    return evaluate(node)


def _binary(kind: ast.operator, left: Any, right: Any) -> Any:
    if _is_too_large(kind, left, right):
        raise ValueError("the result of an expression is too large to be an answer")
    return _BINARY[type(kind)](left, right)


def _is_too_large(kind: ast.operator, left: Any, right: Any) -> bool:
    if isinstance(left, str | bytes) and isinstance(kind, ast.Mod):
        shown = left if isinstance(left, str) else left.decode("latin-1")
        return bool(_WIDE.search(shown))
    if isinstance(kind, ast.Mult):
        for items, times in ((left, right), (right, left)):
            if isinstance(items, str | bytes | list | tuple) and isinstance(times, int):
                return len(items) * times > _MAX_ITEMS
    if not (isinstance(left, int) and isinstance(right, int)):
        return False
    bits = {ast.Mult: left.bit_length() + right.bit_length(), ast.Pow: left.bit_length() * max(right, 0)}
    bits[ast.LShift] = left.bit_length() + max(right, 0)
    return bits.get(type(kind), 0) > _MAX_BITS
