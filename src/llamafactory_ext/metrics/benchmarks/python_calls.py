"""Python calls as BFCL's published decoder reads them, in either of its versions.

The decoder for prompted models takes one expression, a list of calls or one call, and nothing else. Its quirks:

- every unary operator negates a constant, so `+5` is -5 and `not 1` is -1;
- a bare name is its text, and so are `a[1]` and a call without keywords;
- a call with keywords inside a value is `{name: arguments}`;
- attributes, lambdas, sets, comprehensions and f-strings as values are errors;
- positional arguments are passed over.

v3 (published up to June 2025) strips "[", "]" and "'" from both ends; v4 strips blanks, then "'".
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ...errors import CallParseError
from .expressions import evaluate

Version = Literal["v3", "v4"]
VERSIONS: tuple[Version, ...] = ("v3", "v4")


@dataclass(frozen=True)
class PythonCall:
    """A call as python states it.

    Attributes:
        name: dotted, without what is no name: `Api().f(x=1)` is f.
        arguments: by keyword; None is the key of `**more`.
        positional: arguments without a keyword, not worked out yet.
    """

    name: str
    arguments: Mapping[Any, Any]
    positional: tuple[ast.expr, ...] = ()


def decode(text: str, version: Version = "v3") -> list[PythonCall]:
    """Return the calls of a text that is nothing but calls.

    Raises:
        CallParseError: anything else than calls, with values that the published decoder takes.
    """
    text = text.strip("`\n ")
    text = text if text.startswith("[") else f"[{text}"
    text = text if text.endswith("]") else f"{text}]"
    text = text.strip("[]'") if version == "v3" else text.strip().strip("'")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of "\d", which is no error
            body = ast.parse(text, mode="eval").body
        if isinstance(body, ast.Call):
            return [_call(body)]
        if not isinstance(body, ast.List | ast.Tuple | ast.Set):
            raise ValueError("no list and no call")
        return [_call(node) for node in body.elts]
    except (SyntaxError, ValueError, TypeError, ArithmeticError, LookupError, RecursionError, MemoryError) as error:
        raise CallParseError(f"no list of python calls ({error})") from None


def value_of(node: ast.expr) -> Any:
    """Return a value as the published decoder reads it.

    Raises:
        ValueError, TypeError, ArithmeticError, LookupError: values that it refuses.
    """
    if isinstance(node, ast.Constant):
        return "..." if node.value is Ellipsis else node.value
    if isinstance(node, ast.List):
        return [value_of(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(value_of(item) for item in node.elts)
    if isinstance(node, ast.Dict):
        if None in node.keys:
            raise ValueError("`**` in an object")
        return {value_of(key): value_of(value) for key, value in zip(node.keys, node.values, strict=True) if key}
    if isinstance(node, ast.UnaryOp):
        if not isinstance(node.operand, ast.Constant):
            raise ValueError("an operator before something else than a constant")
        return -node.operand.value  # type: ignore[operator]  # a text raises TypeError, as it is published
    if isinstance(node, ast.BinOp):
        return evaluate(node)
    return _named(node)


def _named(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Call):
        if not node.keywords:
            return ast.unparse(node)
        call = _call(node)
        return {call.name: call.arguments}
    if isinstance(node, ast.Subscript):
        return f"{ast.unparse(node.value)}[{ast.unparse(node.slice)}]"
    raise ValueError(f"{type(node).__name__} as a value")


def _call(node: ast.expr) -> PythonCall:
    if not isinstance(node, ast.Call):
        raise ValueError("a call is expected")
    parts, function = [], node.func
    while isinstance(function, ast.Attribute):
        parts.append(function.attr)
        function = function.value
    if isinstance(function, ast.Name):
        parts.append(function.id)
    arguments = {keyword.arg: value_of(keyword.value) for keyword in node.keywords}
    return PythonCall(".".join(reversed(parts)), arguments, tuple(node.args))
