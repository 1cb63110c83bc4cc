"""What a call format is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..cursor import Cursor
from ..literals import odd_names
from ..model import Tool, ToolCall

Declared = Mapping[str, Tool]
# White space, and what takes no room at all: models and web pages leave such characters between calls.
BLANK = r"\s\u200b\u200c\u200d\u2060\ufeff"
_SEPARATORS = re.compile(rf"[{BLANK},;]*+")
_NAME_PART = re.compile(r"[\w.:-]++")
# Beside these, models without marks put brackets, code fences, list marks and end tokens between calls.
LOOSE_SEPARATORS = re.compile(
    rf"(?:[{BLANK},;\[\]]|```[a-z_]*+|(?<!\w)\d{{1,2}}[.)](?=\s)|(?<!\S)[-*](?=\s)|<\|im_end\|>|<\|eot_id\|>|</s>)*+"
)


def always(_begun: str, _declared: Declared) -> bool:
    """Take everything after a mark for a call."""
    return True


def speaks_of(sign: str, shape: str) -> Callable[[str, Declared], bool]:
    """Return a rule for marks that prose may hold.

    A call is meant where the text goes on in this shape behind the mark, whatever tool it names. Otherwise a declared
    tool must be named near by, or `sign` must where none is declared.
    """
    written = re.compile(shape)

    def meant(begun: str, declared: Declared) -> bool:
        if written.match(begun) is not None:
            return True
        return any(name in begun for name in declared) if declared else sign in begun

    return meant


def begins_with_a_tool(begun: str, declared: Declared) -> bool:
    """Tell whether a declared tool's name comes first, opening brackets and labels apart."""
    return any(re.match(rf"(?:API-Request:|[\W_])*?{re.escape(name)}(?![\w])", begun) for name in declared)


@dataclass(frozen=True)
class Format:
    """A way to write calls.

    Attributes:
        name: as users choose it.
        example: one call with one argument, for messages and documentation.
        mark: where calls may begin: the opening marks, or an empty match before a call that has none. Unambiguous, so
            that one search is linear.
        needs: texts of which one stands in every text with calls of the format; a quick look before the search.
        read: reads what follows a match of `mark`, adds its calls to the cursor, or fails where it is malformed. It
            may add none: what stands there then is text.
        render: writes calls (at least one, with names that `can_name` accepts).
        can_name: whether the format can write a tool's name.
        between: what may stand between the calls of one group, beside what `read` steps over.
        closing: the characters that a complete call ends with.
        marked: whether the marks tell the format, so that they count before all that may be prose.
        alone: whether it is looked for where no format is known; False where another one reads the same texts.
        meant: whether something malformed after a mark, given by its first characters, is meant as a call of one of
            the declared tools; otherwise it is prose or code.
        mark_with: makes `mark` for tools whose names are no identifiers, from a pattern of names.
        as_json: whether calls are JSON objects with a name and arguments.
        typed: whether the text alone tells the types of values; where it does not, declared tools do.
        name_apart: whether nothing but the line of its own tells a tool's name from words.
        is_code: whether calls are code without marks, so that comments may stand between them and hold none.
    """

    name: str
    example: str
    mark: re.Pattern[str]
    read: Callable[[Cursor, re.Match[str]], None]
    render: Callable[[Sequence[ToolCall]], str]
    can_name: Callable[[str], bool]
    needs: tuple[str, ...] = ()
    alone: bool = True
    between: re.Pattern[str] = _SEPARATORS
    closing: str = "}"
    marked: bool = True
    meant: Callable[[str, Declared], bool] = always
    mark_with: Callable[[str], re.Pattern[str]] | None = None
    as_json: bool = False
    typed: bool = True
    name_apart: bool = False
    is_code: bool = False

    def mark_for(self, declared: Declared) -> re.Pattern[str]:
        """Return the mark by which calls of these tools are found too."""
        odd = odd_names(tuple(declared)) if self.mark_with is not None else ""
        return self.mark if self.mark_with is None or not odd else self.mark_with(odd)

    @cached_property
    def openings(self) -> tuple[str, ...]:
        """What stands before a tool's name, with and without the marks that several calls share."""
        before = self.example.partition("get_weather")[0]
        return tuple(before[at:] for at, sign in enumerate(before) if at == 0 or sign in "<[{")

    def begins_call(self, rest: str, declared: Declared) -> bool:
        """Tell whether this is the beginning of a call up to somewhere in its name, or before its arguments."""
        if not rest.strip("`"):  # nothing, or the end of a fence
            return False
        for opening in self.openings:
            if opening.startswith(rest) or (rest.startswith(opening) and _NAME_PART.fullmatch(rest, len(opening))):
                return True
        return any(rest == name or (rest.startswith(f"{name}(") and ")" not in rest) for name in declared)

    def find(self, cursor: Cursor) -> None:
        """Add every call of the text to the cursor; fail at a malformed one."""
        mark = self.mark_for(cursor.declared)
        while (match := cursor.seek(mark)) is not None:
            self.read(cursor, match)


def any_name(name: str) -> bool:
    """Accept every name, as JSON strings can hold it."""
    return bool(name)
