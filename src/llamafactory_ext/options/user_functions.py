"""Functions of a user that an option names as `module:function`."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..foreign import shown


def load_function(option: str, name: str) -> Callable[..., Any]:
    """Return the function that `module:function` names; the module is also looked for in the working directory.

    Args:
        option: the option that names it, for messages.
        name: the option's value.

    Raises:
        OptionError: there is no such function, or its module cannot be imported.
    """
    module, _, function = name.partition(":")
    advice = f"{option}={name}: write module:function, with the module in the working directory or installed"
    if not module or not function:
        raise OptionError(f"{advice}.")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        found: Any = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise OptionError(f"{advice} ({error}).") from None
    except Exception as error:  # whatever the user's module does while it is imported
        raise OptionError(f"{advice} (importing it: {described(error)}).") from None
    finally:
        sys.path.remove(here)
    if not callable(found):
        raise OptionError(f"{advice}; {function} is no function.")
    function_found: Callable[..., Any] = found
    return function_found


def code_hash(function: Callable[..., Any]) -> str:
    """Return a hash of the module that a function stands in, for caches of what it returned; empty without a file.

    Modules that this one imports are not covered.
    """
    try:
        path = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:
        path = None
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16] if path and Path(path).is_file() else ""


def described(error: BaseException) -> str:
    """Return an exception's name and text in one short line."""
    try:
        text = shown(str(error), 200)
    except Exception:  # of one that cannot say what it is
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
