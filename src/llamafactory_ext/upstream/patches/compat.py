"""Which LLaMA-Factory this is, and whether what we replace is still what we know."""

import hashlib
import inspect
from importlib.metadata import PackageNotFoundError, version
from typing import Any

SUPPORTED_VERSION = "0.9.5"


def upstream_version() -> str | None:
    """The installed version of LLaMA-Factory, None without it."""
    try:
        return version("llamafactory")
    except PackageNotFoundError:
        return None


def fingerprint(thing: Any) -> str:
    """A short hash of a function's or class's source, or of a constant's value."""
    if inspect.isfunction(thing) or inspect.isclass(thing):
        text = inspect.getsource(thing)
    else:
        text = repr(sorted(thing) if isinstance(thing, (set, frozenset)) else thing)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
