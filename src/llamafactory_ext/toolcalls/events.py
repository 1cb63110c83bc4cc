"""Where marks stand in a text: of calls, and of what is no call (thoughts, outputs, comments)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .comments import COMMENT
from .formats import Format
from .stray import STRAY, may_hold_strays
from .thoughts import LONE_END, OPENING, OUTPUT, may_match

AROUND = (OPENING, LONE_END, OUTPUT, COMMENT, STRAY)  # what is no call
OPENS_THOUGHT, ENDS_THOUGHT, IS_OUTPUT, IS_COMMENT, IS_STRAY = range(len(AROUND))  # kinds of events


class Events:
    """The next place of each kind of mark, searched for once; kinds are known by their number."""

    def __init__(self, text: str, marks: Sequence[tuple[Format, re.Pattern[str]]]) -> None:
        self._text, self._none = text, len(text) + 1
        self._patterns = list(AROUND)
        self._starts = [-1 if may_match(pattern, text) else self._none for pattern in AROUND[:IS_STRAY]]
        self._starts.append(-1 if may_hold_strays(text) else self._none)
        kinds: dict[int, int] = {}  # patterns are told apart by what they are: to hash one takes long
        self._marks: list[tuple[Format, int]] = []
        for form, pattern in sorted(marks, key=lambda mark: not mark[0].marked):
            if id(pattern) not in kinds:
                kinds[id(pattern)] = len(self._patterns)
                self._patterns.append(pattern)
                self._starts.append(-1)
            self._marks.append((form, kinds[id(pattern)]))
        self._found: list[re.Match[str] | None] = [None] * len(self._patterns)
        self._floor = [0] * len(self._patterns)

    def next_start(self, place: int) -> int | None:
        """Return the first mark that begins at `place` or later."""
        starts = self._starts
        for kind, start in enumerate(starts):
            least = max(place, self._floor[kind])
            if start < least:
                found = self._found[kind] = self._patterns[kind].search(self._text, least)
                starts[kind] = self._none if found is None else found.start()
        first = min(starts)
        return None if first == self._none else first

    def at(self, kind: int, start: int) -> re.Match[str] | None:
        """Return the mark of this kind that begins just there."""
        return self._found[kind] if self._starts[kind] == start else None

    def marks_at(self, start: int) -> Iterator[tuple[Format, re.Match[str]]]:
        """Return the formats whose marks begin there, those that only calls have first."""
        for form, kind in self._marks:
            found = self.at(kind, start)
            if found is not None:
                yield form, found

    def pass_to(self, kind: int, place: int) -> None:
        """Leave out marks of this kind before a place from now on."""
        self._floor[kind] = place

    def pass_by(self, start: int) -> None:
        """Leave out the formats' marks that begin there from now on."""
        for kind in (IS_STRAY, *(kind for _, kind in self._marks)):
            if self._starts[kind] == start:
                self._floor[kind] = start + 1
