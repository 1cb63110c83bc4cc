"""What a call format is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llamafactory_ext.toolcalls.cursor import Cursor
from llamafactory_ext.toolcalls.model import ToolCall


@dataclass(frozen=True)
class Format:
    """A way to write calls.

    Attributes:
        name: as users choose it.
        example: one call with one argument, for messages and documentation.
        find: adds every call of the text to the cursor, or fails at a malformed one.
        render: writes calls (at least one, with names that `can_name` accepts).
        can_name: whether the format can write a tool's name.
    """

    name: str
    example: str
    find: Callable[[Cursor], None]
    render: Callable[[Sequence[ToolCall]], str]
    can_name: Callable[[str], bool]


def any_name(name: str) -> bool:
    """JSON strings can hold every name."""
    return bool(name)
