"""What the published loop says between replies, out of the code of a user's checkout; nothing of it is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from ..errors import DataError
from .checkout import Checkout

_LOOP, _FUNCTION, _LABEL = "Inference/evaluate_prompted_agent.py", "method_converter", "get_tool_preferences"
_MOST_BYTES = 1 << 20
_TEXT = ("tokens", "no call", "form", "", "turns")  # of ReAct and E-ReAct, in the order in which they stand
_FUNCTIONS = ("tokens", "", "fc", "", "turns", "calls")


def tree_of(checkout: Checkout, name: str) -> ast.Module:
    """Return a module of a checkout as a tree.

    Raises:
        DataError: it cannot be read, or is no file of the published code.
    """
    path = checkout.file(name)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path} is longer than {_MOST_BYTES:,} bytes; it is no file of the published code.")
        return ast.parse(path.read_text("utf-8"))
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise DataError(f"--prompts checkout: {path} cannot be read ({error}); complete the checkout.") from None


def published_sentences(checkout: Checkout) -> Mapping[str, str]:
    """Return the sentences by the names of `prompts.SENTENCES`.

    Raises:
        DataError: the checkout lacks them.
    """
    functions = {node.name: node for node in tree_of(checkout, _LOOP).body if isinstance(node, ast.FunctionDef)}
    found: dict[str, str] = {}
    if _FUNCTION in functions:
        parts = _by_method(functions[_FUNCTION])
        for method, names in (("react", _TEXT), ("e-react", _TEXT), ("fine-tuned", _FUNCTIONS)):
            texts = list(dict.fromkeys(_spoken(parts.get(method, []))))
            if len(texts) == len(names):
                found |= {method if name == "form" else name: text for name, text in zip(names, texts, strict=True)}
    found["context"] = found.get("tokens", "")
    label = next((text for text in _labels(functions.get(_LABEL))), None)
    lacking = [name for name in ("no call", "react", "e-react", "fc", "turns", "tokens", "calls") if name not in found]
    if lacking or label is None:
        raise DataError(
            f"--prompts checkout: {checkout.folder / _LOOP} lacks the loop's texts; complete the checkout."
        )
    return found | {"preferences": label}


def _by_method(function: ast.FunctionDef) -> dict[str, list[ast.stmt]]:
    """Return the statements for each method, of the function's chain of comparisons with a text."""
    found: dict[str, list[ast.stmt]] = {}
    waiting = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Compare):
            (first, *_) = node.test.comparators
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                found[first.value] = node.body
            waiting += node.orelse
    return found


def _spoken(body: list[ast.stmt]) -> Iterator[str]:
    """Return the constant contents of messages, in the order in which they stand."""
    found: list[tuple[int, str]] = []
    for node in (inner for outer in body for inner in ast.walk(outer)):
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                is_content = isinstance(key, ast.Constant) and key.value == "content"
                if is_content and isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value:
                    found.append((value.lineno, value.value))
    return (text for _, text in sorted(found, key=lambda one: one[0]))


def _labels(function: ast.FunctionDef | None) -> Iterator[str]:
    for node in ast.walk(function) if function else ():
        if isinstance(node, ast.Return) and node.value is not None:
            for inner in ast.walk(node.value):
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                    yield inner.value
