"""What a call format is."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..cursor import Cursor
from ..model import ToolCall

_SEPARATORS = re.compile(r"[\s,;]*+")


@dataclass(frozen=True)
class Format:
    """A way to write calls.

    Attributes:
        name: as users choose it.
        example: one call with one argument, for messages and documentation.
        mark: where calls may begin: the opening marks, or an empty match before a call that has none. Unambiguous, so
            that one search is linear.
        read: reads what follows a match of `mark`, adds its calls to the cursor, or fails where it is malformed. It
            may add none: what stands there then is text.
        render: writes calls (at least one, with names that `can_name` accepts).
        can_name: whether the format can write a tool's name.
        between: what may stand between the calls of one group, beside what `read` steps over.
        closing: the characters that a complete call ends with.
        marked: whether the marks tell the format, so that what follows them is a call or a malformed one, never prose.
        typed: whether the text alone tells the types of values; where it does not, declared tools do.
    """

    name: str
    example: str
    mark: re.Pattern[str]
    read: Callable[[Cursor, re.Match[str]], None]
    render: Callable[[Sequence[ToolCall]], str]
    can_name: Callable[[str], bool]
    between: re.Pattern[str] = _SEPARATORS
    closing: str = "}"
    marked: bool = True
    typed: bool = True

    def find(self, cursor: Cursor) -> None:
        """Add every call of the text to the cursor; fail at a malformed one."""
        while (match := cursor.seek(self.mark)) is not None:
            self.read(cursor, match)


def any_name(name: str) -> bool:
    """JSON strings can hold every name."""
    return bool(name)
