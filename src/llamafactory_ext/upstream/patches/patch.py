"""One row of the table: what is replaced in an upstream module, or only relied on, and how that is done.

Nothing here may end a run that is not ours: where a replacement cannot be made or does not concern a call, upstream's
own object does the work. What is broken is remembered, and refused when a run of ours needs it.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from ...errors import UpstreamError
from .compat import upstream_folder
from .features import Feature
from .relies import Statement

Arguments = Mapping[str, Any]
originals: dict[str, Any] = {}
"""Upstream's objects that are replaced in this process, by name."""
replacements: dict[str, Any] = {}
failures: dict[str, str] = {}
"""Why an object could not be replaced, by name."""


@dataclass(frozen=True)
class Use:
    """An upstream object that we rely on.

    Attributes:
        module: where it is taken from.
        symbol: its name there.
        needed_by: what of ours does not work without it.
        relies_on: what must hold of it; everything else may change.
    """

    module: str
    symbol: str
    needed_by: tuple[Feature, ...]
    relies_on: tuple[Statement, ...] = ()

    @property
    def name(self) -> str:
        """Module and symbol, as messages show them."""
        return f"{self.module}.{self.symbol}"

    def problem(self) -> str:
        """Say what has changed too much, as far as that can be seen by now; nothing where all is well."""
        if self.name in failures:
            return failures[self.name]
        module = sys.modules.get(self.module)
        if module is None:
            return "" if _exists(self.module) else f"cannot be found, as there is no module {self.module}"
        if not hasattr(module, self.symbol):
            return "is missing"
        found = originals.get(self.name, getattr(module, self.symbol))
        return _judged(self, found) if self.relies_on else ""


@dataclass(frozen=True)
class Patch(Use):
    """An upstream object that is replaced.

    Attributes:
        reason: what would go wrong without it.
        wrap: takes the original, returns what stands in for it (a constant changed in place returns itself).
        when: which calls are ours, by their arguments; all others go to the original. Without it all are.
    """

    reason: str = ""
    wrap: Callable[[Any], Any] = lambda original: original
    when: Callable[[Arguments], bool] | None = None

    def problem(self) -> str:
        if self.module in sys.modules and self.name not in originals and self.name not in failures:
            return "was imported before llamafactory_ext could replace it"
        return super().problem()

    def apply(self, module: ModuleType) -> None:
        """Put the replacement in the original's place, or remember why not."""
        try:
            original = getattr(module, self.symbol)
        except AttributeError:
            failures[self.name] = "is missing"
            return
        try:
            replacement = self.wrap(original)
            if self.when is not None:
                switch = switched_class if inspect.isclass(original) else switched
                replacement = switch(original, replacement, self.when)
            setattr(module, self.symbol, replacement)
        except Exception as error:
            what = error.message if isinstance(error, UpstreamError) else f"{type(error).__name__}: {error}"
            failures[self.name] = f"cannot be replaced ({what})"
            return
        originals[self.name], replacements[self.name] = original, replacement


def switched(original: Any, replacement: Any, when: Callable[[Arguments], bool]) -> Any:
    """Return a function that is `replacement` for calls that are ours, and `original` for all others.

    It is a generator function where the original is one: gradio looks at that.
    """

    def chosen(*args: Any, **kwargs: Any) -> Any:
        return (replacement if _is_ours(original, args, kwargs, when) else original)(*args, **kwargs)

    def generator(*args: Any, **kwargs: Any) -> Any:
        return (yield from chosen(*args, **kwargs))

    return functools.wraps(original)(generator if inspect.isgeneratorfunction(original) else chosen)


def switched_class(original: type, replacement: type, when: Callable[[Arguments], bool]) -> type:
    """Return the class `replacement`; where it is switched off, its objects are of the class `original`."""

    def new(kind: type, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(kind) if _is_ours(None, args, kwargs, when) else original(*args, **kwargs)

    replacement.__new__ = new  # type: ignore[method-assign, assignment]
    return replacement


def _is_ours(function: Any, args: Any, kwargs: Any, when: Callable[[Arguments], bool]) -> bool:
    try:
        if function is None:
            return when(kwargs)
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        return when(bound.arguments)
    except Exception:  # whatever it is, a run that is not ours must not notice
        return False


@functools.cache
def _exists(module: str) -> bool:
    """Tell whether there is a module; its parents are not imported, as LLaMA Board's bring gradio along."""
    top, *rest = module.split(".")
    try:
        spec = find_spec(top)
        places = list((spec.submodule_search_locations if spec else None) or [])
        for name in rest:
            spec = PathFinder.find_spec(name, places) if places else None
            places = list((spec.submodule_search_locations if spec else None) or [])
    except (ImportError, AttributeError, ValueError):
        return False
    return spec is not None


def _judged(part: Use, thing: Any) -> str:
    known = _judgements.get(part.name)
    if known is None or known[0] is not thing:
        known = (thing, _judge(part, thing))
        _judgements[part.name] = known
    return known[1]


_judgements: dict[str, tuple[Any, str]] = {}


def _judge(part: Use, thing: Any) -> str:
    for statement in part.relies_on:
        try:
            problem = statement.problem(thing)
        except Exception as error:
            problem = f"cannot be looked at ({type(error).__name__}: {error})"
        if problem:
            return problem + (f" (it comes from {other})" if (other := stranger(thing)) else "")
    return ""


def stranger(thing: Any) -> str:
    """Return the file of a function or class that is not upstream's, such as another package's plugin."""
    code = getattr(thing, "__code__", None)
    try:
        file = code.co_filename if code is not None else inspect.getsourcefile(thing)
    except TypeError:
        return ""
    folder = upstream_folder()
    return "" if file is None or folder is None or file.startswith(str(folder)) else file
