"""A position in a text that moves forward only: what makes every parser linear."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NoReturn

from llamafactory_ext.errors import CallParseError, DataError

from .model import ParsedCall, Tool, ToolCall
from .values import MAX_VALUES, Json

MAX_CALLS = 5_000
_BLANKS = re.compile(r"\s*+")
_SHOWN = 30


class Cursor:
    """Walks over a text.

    Patterns must be unambiguous (no two ways to match the same characters), so that one match is linear; a parser
    either moves the cursor or fails.

    Attributes:
        text: the whole text.
        pos: the next character to read.
        failed: where it failed, if it has.
        steps: characters and patterns read so far; at most a small multiple of the text's length.
        calls: what was found.
        declared: the tools that the model was told of, by name; they type values that a format writes without types.
        repeated: the first key that an object of the calls has twice, the last value of which counts.
        meant: whether what failed is a call for sure, and not prose or code that looks like one.
        others: whether calls of other formats may stand in the text too.
    """

    def __init__(self, text: str, declared: Mapping[str, Tool] | None = None, pos: int = 0) -> None:
        self.text = text
        self.declared: Mapping[str, Tool] = declared or {}
        self.pos = pos
        self.failed = 0
        self.steps = 0
        self.calls: list[ParsedCall] = []
        self.others = False
        self.meant = False
        self.repeated: str | None = None
        self._values = 0

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Match the pattern here and step over it."""
        return self._step(pattern.match(self.text, self.pos), self.pos)

    def seek(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Find the pattern from here on and step over it; without a match the whole rest is read."""
        return self._step(pattern.search(self.text, self.pos), len(self.text))

    def skip_blanks(self) -> None:
        """Step over white space."""
        self.take(_BLANKS)

    def take_text(self, literal: str) -> bool:
        """Skip white space, then step over exactly these characters if they come next."""
        self.skip_blanks()
        self.steps += 1
        if not self.text.startswith(literal, self.pos):
            return False
        self.pos += len(literal)
        return True

    def peek(self) -> str:
        """Skip white space; the next character, or "" at the end."""
        self.skip_blanks()
        return self.text[self.pos : self.pos + 1]

    def jump(self, pos: int) -> None:
        """Step over everything before `pos`."""
        assert pos >= self.pos
        self.steps += pos - self.pos
        self.pos = pos

    def count_value(self) -> None:
        """Count a value against the limit on one text."""
        self._values += 1
        if self._values > MAX_VALUES:
            self.fail(f"the calls hold more than {MAX_VALUES} values")

    def add(self, name: str, arguments: dict[str, Json], start: int, name_span: tuple[int, int]) -> None:
        """Record the call that ends here."""
        if len(self.calls) == MAX_CALLS:
            self.fail(f"there are more than {MAX_CALLS} calls", start)
        try:
            call = ToolCall(name, arguments)
        except DataError as error:
            raise CallParseError(f"The call at character {start + 1} is not valid. {error.message}") from None
        self.calls.append(ParsedCall(call, start, self.pos, *name_span))

    def note_repeated(self, key: str | None) -> None:
        """Note a key that an object has twice."""
        self.repeated = self.repeated if self.repeated is not None else key

    def fail(self, problem: str, pos: int | None = None) -> NoReturn:
        """Raise a CallParseError that shows the place."""
        pos = self.failed = self.pos if pos is None else pos
        shown = ascii(self.text[pos : pos + _SHOWN]) if pos < len(self.text) else "the end of the text"
        raise CallParseError(f"At character {pos + 1} ({shown}): {problem}.")

    def _step(self, match: re.Match[str] | None, without: int) -> re.Match[str] | None:
        end = without if match is None else match.end()
        self.steps += 1 + end - self.pos
        self.pos = end if match is not None else self.pos
        return match
