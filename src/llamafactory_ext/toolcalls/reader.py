"""The one reader: which calls a text makes, whatever wrote it.

A text is walked once. Thoughts are stepped over, and whatever follows an invented tool output is left out. Where the
marks of several formats fit, those that only calls have come first. Of several groups of calls the last one counts:
what stands before it is a draft.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import CallParseError, DataError, OptionError
from .call_objects import plain_call
from .cursor import Cursor
from .formats import FORMATS, Format
from .formats.api_bank import LABEL
from .gaps import in_a_row, joins
from .model import ParsedCall, Tool, ToolCall
from .thoughts import LONE_END, OPENING, OUTPUT, closes, end_of_thought, may_match, opens
from .values import check_text

# A text may cost this many steps per character before it is refused: malformed marks are read again and again.
_STEPS = 40
_LOOKED_FOR = [form for form in FORMATS.values() if form.alone]
# What a text must hold before a search for a format's mark is worth while: names of formats by such a text.
_NEEDS = {
    need: [form.name for form in FORMATS.values() if need in form.needs]
    for need in sorted({need for form in FORMATS.values() for need in form.needs})
}
_AROUND = (OPENING, LONE_END, OUTPUT)  # what is no call
_OPENS, _ENDS, _OUTPUT = range(len(_AROUND))  # kinds of events
_NEAR = 400  # characters in which a malformed call must name its tool


@dataclass(frozen=True)
class Detected:
    """The calls of a text and where they stand.

    Attributes:
        calls: in the text's order; empty for a text without any.
        start: where the calls begin, their opening marks included; the text's length without any.
        end: where they end, their closing marks included.
        format: the format they are written in; None without any.
    """

    calls: tuple[ParsedCall, ...]
    start: int
    end: int
    format: Format | None = None

    def knows(self, names: Container[str]) -> bool:
        """Whether there are calls, and all of them name one of these tools."""
        return bool(self.calls) and all(found.call.name in names for found in self.calls)

    def stands_alone(self, text: str) -> bool:
        """Whether there are calls that are marked, or have their lines in the text for themselves."""
        return self.is_marked(text) or (bool(self.calls) and _stands_alone(text, self.start, self.end))

    def is_marked(self, text: str) -> bool:
        """Whether there are calls whose marks or label in the text tell them from code in an answer."""
        return self.format is not None and (self.format.marked or text.startswith(LABEL, self.start))


def detect(text: str, declared: Iterable[Tool] = (), call_format: str | None = None) -> list[ParsedCall]:
    """Return the calls that a text makes, in its order; none for an answer without calls.

    Thoughts are left out, and so is what follows an invented tool output. Prose may stand around calls. The last group
    of calls counts; its calls have only white space, commas, list marks or the format's own marks between them. Prose
    makes a draft of what stands before it.

    Args:
        text: what a model wrote, or a turn of a record.
        declared: the tools the model was told of. They choose between readings and type values that a format writes
            without types; a call of another tool is returned too.
        call_format: one of `FORMATS`, where it is known how calls are written; None looks for all formats.

    Raises:
        CallParseError: a malformed call, with its place.
        OptionError: no such format.
    """
    return list(detect_turn(text, declared, call_format).calls)


def detect_turn(text: str, declared: Iterable[Tool] = (), call_format: str | None = None) -> Detected:
    """Return the calls that a text makes with the place of all of them; arguments and errors as those of `detect`."""
    if call_format is not None and call_format not in FORMATS:
        raise OptionError(f"There is no call format {call_format!r}; choose one of {', '.join(FORMATS)}.")
    try:
        check_text(text, "The text")
    except DataError as error:
        raise CallParseError(error.message) from None
    known = FORMATS[call_format] if call_format is not None else None
    if known is None and (plain := _plain_call(text)) is not None:
        return plain
    present = {name for need, names in _NEEDS.items() if need in text for name in names}
    forms = [form for form in (_LOOKED_FOR if known is None else [known]) if form.name in present]
    if not forms:
        return Detected((), len(text), len(text))
    scan = _Scan(text, {tool.name: tool for tool in declared}, forms, known=known is not None)
    scan.run()
    return scan.result()


def _plain_call(text: str) -> Detected | None:
    """A text that is nothing but one call in JSON, as most records have them; no other format reads such a text."""
    found = plain_call(text, 0) if text.startswith("{") else None
    if found is None or found.members > 2 or text[found.end :].strip():
        return None
    try:
        call = ToolCall(found.name, found.arguments)
    except DataError:
        return None
    return Detected((ParsedCall(call, 0, found.end, *found.span),), 0, found.end, FORMATS["json"])


@dataclass(frozen=True)
class _Construct:
    """Calls that one mark introduces."""

    form: Format
    start: int
    end: int
    calls: tuple[ParsedCall, ...]


@dataclass(frozen=True)
class _Fault:
    """A mark after which a call was meant and none could be read."""

    form: Format
    start: int
    failed: int
    error: CallParseError


@dataclass
class _Scan:
    """One walk over a text.

    Attributes:
        known: whether the format is known, so that whatever looks like a call of it is meant as one.
    """

    text: str
    declared: Mapping[str, Tool]
    forms: Sequence[Format]
    known: bool
    constructs: list[_Construct] = field(default_factory=list)
    faults: list[_Fault] = field(default_factory=list)
    _steps: int = 0

    def run(self) -> None:
        """Find every construct and every fault outside thoughts, up to an invented output."""
        events = _Events(self.text, [(form, form.mark_for(self.declared)) for form in self.forms])
        place = 0
        while (start := events.next_start(place)) is not None:
            if (thought := events.at(_OPENS, start)) is not None:
                place = end_of_thought(self.text, thought) if opens(self.text, thought) else thought.end()
            elif (end := events.at(_ENDS, start)) is not None and not closes(self.text, end):
                place = end.end()
            elif end is not None:
                self.constructs.clear()
                self.faults.clear()
                place = end.end()
            elif (output := events.at(_OUTPUT, start)) is not None:
                if self.constructs:
                    return
                place = output.end()
            else:
                place = self._read(events, start)

    def _read(self, events: _Events, start: int) -> int:
        """Read what begins at `start` by the first format that can; return where to go on."""
        faults: list[_Fault] = []
        passed = start
        for form, match in events.marks_at(start):
            cursor = Cursor(self.text, self.declared, match.end())
            try:
                form.read(cursor, match)
            except CallParseError as error:
                faults.append(_Fault(form, start, max(cursor.pos, cursor.failed), error))
                self._count(cursor)
                continue
            self._count(cursor)
            if cursor.calls:
                self.constructs.append(_Construct(form, start, cursor.pos, tuple(cursor.calls)))
                return cursor.pos
            if cursor.pos > match.end():
                passed = max(passed, cursor.pos)
        announced = [fault for fault in faults if self._announced(fault)]
        if announced:  # the format that reads on the longest is the one that was meant
            self.faults.append(max(announced, key=lambda fault: fault.failed))
        if passed > start:  # a value of another kind, whose texts are no calls either
            return passed
        events.pass_by(start)
        return start

    def _count(self, cursor: Cursor) -> None:
        self._steps += cursor.steps
        if self._steps > _STEPS * (len(self.text) + 100):
            raise CallParseError(f"The text begins too many malformed calls, up to character {cursor.pos + 1}.")

    def result(self) -> Detected:
        """The group that counts.

        Raises:
            CallParseError: a malformed call belongs to the group or follows it.
        """
        groups = list(self._groups())
        chosen = self._choose(groups) if len(groups) > 1 else [one for group in groups for one in group]
        nearest = {(fault.form.name, _after(fault, chosen)): fault for fault in self.faults}
        for fault in self.faults:
            if not chosen or self._belongs(fault, chosen, nearest):
                raise fault.error
        if not chosen:
            return Detected((), len(self.text), len(self.text))
        self._refuse_cut(chosen[-1])
        calls = tuple(call for construct in chosen for call in construct.calls)
        return Detected(calls, chosen[0].start, self._closed(chosen[-1]), chosen[0].form)

    def _groups(self) -> Iterator[list[_Construct]]:
        group: list[_Construct] = []
        for construct in self.constructs:
            if group and not self._continues(group[-1], construct):
                yield group
                group = []
            group.append(construct)
        if group:
            yield group

    def _continues(self, one: _Construct, other: _Construct) -> bool:
        return one.form is other.form and joins(self.text[one.end : other.start], one.form)

    def _choose(self, groups: Sequence[list[_Construct]]) -> list[_Construct]:
        """The last group; of marked calls if there are any; of another format if only that one knows its tools."""
        pool = [group for group in groups if group[0].form.marked] or groups
        pool = [group for group in pool if _stands_alone(self.text, group[0].start, group[-1].end)] or pool
        last = pool[-1]
        if not self.declared or self._knows(last):
            return last
        others = (group for group in reversed(pool) if group[0].form is not last[0].form and self._knows(group))
        return next(others, last)

    def _knows(self, group: Iterable[_Construct]) -> bool:
        return all(found.call.name in self.declared for construct in group for found in construct.calls)

    def _announced(self, fault: _Fault) -> bool:
        """Whether a malformed call is meant as one, and not prose or code that looks like it."""
        if self.known and not self.declared:
            return True
        return fault.form.meant(self.text[fault.start : fault.start + _NEAR], self.declared)

    def _belongs(self, fault: _Fault, chosen: Sequence[_Construct], nearest: Mapping[tuple[str, int], _Fault]) -> bool:
        """Whether a malformed call follows the group, or stands before it without prose between them.

        Of several before the same call the nearest one is judged: prose behind it stands behind the others too.
        """
        if fault.start >= chosen[-1].end or (fault.form.marked and not chosen[0].form.marked):
            return True
        if fault.form.marked != chosen[0].form.marked:
            return False
        if any(fault.start <= one.start <= fault.failed for one in chosen):
            return True
        after = _after(fault, chosen)
        if nearest[fault.form.name, after] is not fault:
            return False
        return in_a_row(self.text[fault.failed : after], fault.form, chosen[0].form)

    def _closed(self, last: _Construct) -> int:
        """Where the marks behind the last call end, which close all calls of the turn."""
        marks = last.form.between.match(self.text, last.end) if last.form.marked else None
        return last.end if marks is None else last.end + len(marks[0].rstrip())

    def _refuse_cut(self, last: _Construct) -> None:
        """Fail if nothing but the beginning of another call stands behind the calls: generation stopped in it."""
        if len(self.text) - last.end > _NEAR:
            return
        between = last.form.between.match(self.text, last.end)
        for place in (last.end, last.end if between is None else between.end()):
            if last.form.begins_call(self.text[place:].strip(" \t\r\n,;"), self.declared):
                Cursor(self.text).fail("another call begins here and is cut", place)


def _after(fault: _Fault, chosen: Sequence[_Construct]) -> int:
    """Where the first calls behind a malformed one begin; 0 without any."""
    return next((one.start for one in chosen if one.start > fault.start), 0)


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether calls have their lines for themselves, labels and closing marks apart."""
    before = text[text.rfind("\n", 0, start) + 1 : start]
    line_end = text.find("\n", end)
    after = text[end : line_end if line_end >= 0 else len(text)]
    return not any(map(str.isalnum, re.sub(r"<[^<>]*>|```\w*|[\w-]*:", "", before + " " + after)))


class _Events:
    """The next place of each kind of mark, searched for once; kinds are known by their number."""

    def __init__(self, text: str, marks: Sequence[tuple[Format, re.Pattern[str]]]) -> None:
        self._text, self._none = text, len(text) + 1
        self._patterns = list(_AROUND)
        self._starts = [-1 if may_match(pattern, text) else self._none for pattern in _AROUND]
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
        """The first mark that begins at `place` or later."""
        starts = self._starts
        for kind, start in enumerate(starts):
            least = max(place, self._floor[kind])
            if start < least:
                found = self._found[kind] = self._patterns[kind].search(self._text, least)
                starts[kind] = self._none if found is None else found.start()
        first = min(starts)
        return None if first == self._none else first

    def at(self, kind: int, start: int) -> re.Match[str] | None:
        """The mark of this kind that begins just there."""
        return self._found[kind] if self._starts[kind] == start else None

    def marks_at(self, start: int) -> Iterator[tuple[Format, re.Match[str]]]:
        """The formats whose marks begin there, those that only calls have first."""
        for form, kind in self._marks:
            found = self.at(kind, start)
            if found is not None:
                yield form, found

    def pass_by(self, start: int) -> None:
        """Leave out the formats' marks that begin there from now on."""
        for _, kind in self._marks:
            if self._starts[kind] == start:
                self._floor[kind] = start + 1
