"""Python calls as BFCL's published decoder reads them: one expression, a list of calls or one call."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from ...errors import CallParseError

Call = tuple[str, Mapping[str, Any]]


def decode(text: str) -> list[Call]:
    """The calls of a text that is nothing but calls.

    Positional arguments are passed over, as in the published decoder. A literal is itself, a tuple a tuple; a name or
    an expression is its text (the published decoder evaluates expressions, we do not).

    Raises:
        CallParseError: anything else than calls.
    """
    text = text.strip("`\n ")
    text = text if text.startswith("[") else f"[{text}"
    text = (text if text.endswith("]") else f"{text}]").strip().strip("'")
    try:
        body = ast.parse(text, mode="eval").body
        return [_call(node) for node in (body.elts if isinstance(body, ast.List) else [body])]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CallParseError(f"no list of python calls ({error})") from None


def _call(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call):
        raise ValueError("a call is expected")
    return ast.unparse(node.func), {str(key.arg): _value(key.value) for key in node.keywords}


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.List):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Tuple):
        return tuple(_value(item) for item in node.elts)
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {str(_literal(key)) if key is not None else "**": _value(value) for key, value in pairs}
    if isinstance(node, ast.Call) and node.keywords:
        name, arguments = _call(node)
        return {name: arguments}
    return _literal(node)


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)
