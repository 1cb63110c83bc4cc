"""Readings of the texts of one example, each made once: judging, weighing and comparing ask for the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .model import Tool
from .reader import Detected, detect_turn

Reader = Callable[[str, Sequence[Tool], str | None], Detected]


class Readings:
    """Reads as `detect_turn` does, and remembers; made anew for every example."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int, str | None], tuple[Any, Detected]] = {}

    def __call__(self, text: str, declared: Sequence[Tool] = (), call_format: str | None = None) -> Detected:
        """Return the calls of a text; arguments and errors as those of `detect_turn`."""
        key = text, id(declared), call_format
        if key not in self._found:
            # With the tools themselves: as long as they are kept, no others have their id.
            self._found[key] = declared, detect_turn(text, declared, call_format)
        return self._found[key][1]
