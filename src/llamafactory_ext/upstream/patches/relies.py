"""Small statements about upstream's code, which the code that is loaded is asked about.

A row of the table lists what its wrapper needs. Everything else may change: docstrings, help texts, comments,
formatting, new fields and new parameters with a default.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from inspect import Parameter
from typing import Any, Protocol

_NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
_LEFT_OUT = ("ctx", "type_comment", "kind", "type_params", "type_ignores")  # differ between versions of Python


class Statement(Protocol):
    """One thing that must hold."""

    def problem(self, thing: Any) -> str:
        """Say what does not hold of a function, class or constant; nothing where all is well."""


class Takes:
    """A function or a class takes these parameters by name, in this order; it asks for no others."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def problem(self, thing: Any) -> str:
        if not callable(thing):
            return "cannot be called"
        parameters = inspect.signature(thing).parameters
        found = [name for name, parameter in parameters.items() if parameter.kind in _NAMED]
        missing = [name for name in self.names if name not in found]
        if missing:
            return f"has no parameter {', '.join(missing)}"
        if [name for name in found if name in self.names] != list(self.names):
            return f"takes its parameters in another order ({', '.join(found)})"
        asked = [
            name
            for name, parameter in parameters.items()
            if name not in self.names
            and parameter.default is Parameter.empty
            and parameter.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        ]
        return f"asks for a parameter {', '.join(asked)}" if asked else ""


class EndsWith:
    """The last parameter of a function has this name, as callers give it by place."""

    def __init__(self, name: str) -> None:
        self.name = name

    def problem(self, thing: Any) -> str:
        last = [*inspect.signature(thing).parameters][-1:]
        return "" if last == [self.name] else f"no longer takes {self.name} last"


class Has:
    """A class has this method, of which more is stated."""

    def __init__(self, method: str, *statements: Statement) -> None:
        self.method, self.statements = method, statements

    def problem(self, thing: Any) -> str:
        found = getattr(thing, self.method, None)
        if found is None:
            return f"has no {self.method}"
        problem = next(filter(None, (statement.problem(found) for statement in self.statements)), "")
        return f"has a {self.method} that {problem}" if problem else ""


class Fields:
    """A dataclass has these fields; a value other than `...` is the default."""

    def __init__(self, **defaults: Any) -> None:
        self.defaults = defaults

    def problem(self, thing: Any) -> str:
        if not is_dataclass(thing):
            return "is no dataclass"
        found = {field.name: field for field in fields(thing)}
        missing = [name for name in self.defaults if name not in found]
        if missing:
            return f"has no field {', '.join(missing)}"
        for name, default in self.defaults.items():
            if default is not ... and found[name].default is not MISSING and found[name].default != default:
                return f"has the default {found[name].default!r} for {name}, not {default!r}"
        return ""


class Inherits:
    """A class has parents of these names."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def problem(self, thing: Any) -> str:
        missing = set(self.names) - {parent.__name__ for parent in getattr(thing, "__mro__", ())}
        return f"does not inherit from {', '.join(sorted(missing))}" if missing else ""


class Sets:
    """A class's code sets these attributes of its objects."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def problem(self, thing: Any) -> str:
        nodes = [node for part in _sources(thing) for node in ast.walk(tree_of(part))]
        found = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
        missing = set(self.names) - found
        return f"no longer sets {', '.join(sorted(missing))}" if nodes and missing else ""


class Code:
    """The code has these lines or expressions in it, however they are formatted."""

    def __init__(self, *snippets: str) -> None:
        self.snippets = snippets

    def problem(self, thing: Any) -> str:
        for part in _sources(thing):
            found = {_plain(node) for node in ast.walk(tree_of(part))}
            missing = [snippet for snippet in self.snippets if _parsed(snippet) not in found]
            if missing:
                return f"no longer has `{missing[0]}` in its code"
        return ""


class Holds:
    """A list, set or dict has these members, and more can be added."""

    def __init__(self, *members: Any) -> None:
        self.members = members

    def problem(self, thing: Any) -> str:
        if not isinstance(thing, (list, set, dict)):
            return f"is a {type(thing).__name__}, not a list, set or dict"
        values = [*thing, *thing.values()] if isinstance(thing, dict) else list(thing)
        missing = [repr(member) for member in self.members if member not in values]
        return f"no longer holds {', '.join(missing)}" if missing else ""


def tree_of(thing: Any) -> ast.Module:
    """Return the parsed source of a function or class."""
    return ast.parse(textwrap.dedent(inspect.getsource(thing)))


def fingerprint(thing: Any) -> str:
    """Return a short hash of the code of a function or class, or of a constant's value, without texts for readers."""
    if inspect.isfunction(thing) or inspect.isclass(thing):
        text = repr(_plain(tree_of(thing)))
    else:
        text = repr(sorted(thing, key=str) if isinstance(thing, (set, frozenset)) else thing)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _sources(thing: Any) -> Iterator[Any]:
    """Return the thing under the wrappers of others, where its source can be read; nothing where it cannot."""
    thing = inspect.unwrap(thing) if callable(thing) else thing
    try:
        inspect.getsource(thing)
    except (OSError, TypeError):  # compiled, or made at run time: contract tests have to do
        return
    yield thing


@cache
def _parsed(snippet: str) -> Any:
    node = ast.parse(textwrap.dedent(snippet)).body[0]
    return _plain(node.value if isinstance(node, ast.Expr) else node)


def _plain(node: Any) -> Any:
    """Return a tree as nested tuples, without positions, docstrings and help texts."""
    if isinstance(node, list):
        return tuple(_plain(item) for item in node)
    if not isinstance(node, ast.AST):
        return node
    parts = {name: value for name, value in ast.iter_fields(node) if name not in _LEFT_OUT and value not in (None, [])}
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and _is_text(node.body[0]):
        parts["body"] = node.body[1:]
    if isinstance(node, ast.Call):
        parts["keywords"] = [word for word in node.keywords if word.arg != "metadata"]
    if isinstance(node, ast.Constant):  # 1, 1.0 and True are equal
        return ("Constant", type(node.value).__name__, node.value)
    return (type(node).__name__, *((name, _plain(value)) for name, value in parts.items() if value != []))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
