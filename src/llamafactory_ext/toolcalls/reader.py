"""The one reader: which calls a text makes, whatever wrote it.

A text is walked once. Thoughts are stepped over, and whatever follows an invented tool output is left out. Where the
marks of several formats fit, those that only calls have come first. Of several groups of calls the last one counts:
what stands before it is a draft.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import CallParseError, DataError, OptionError
from .comments import end_of_comment
from .cursor import Cursor
from .events import ENDS_THOUGHT, IS_COMMENT, IS_OUTPUT, IS_STRAY, OPENS_THOUGHT, Events
from .formats import FORMATS, Format
from .formats.api_bank import LABEL
from .gaps import in_a_row, joins, no_mention, stands_alone
from .meant import meant_call
from .misspelt import lone_call
from .model import ParsedCall, Tool
from .plain import plain_calls
from .stray import Stray, holds_strays, stray_mark
from .thoughts import Thoughts, closes
from .values import check_text

# A text may cost this many steps per character before it is refused: malformed marks are read again and again.
_STEPS = 40
_LOOKED_FOR = [form for form in FORMATS.values() if form.alone]
# What a text must hold before a search for a format's mark is worth while: names of formats by such a text.
_NEEDS = {
    need: [form.name for form in FORMATS.values() if need in form.needs]
    for need in sorted({need for form in FORMATS.values() for need in form.needs})
}
_SHOWN = 30  # characters of a mark that no call took
_NEAR = 400  # characters in which a malformed call must name its tool


@dataclass(frozen=True)
class Detected:
    """The calls of a text and where they stand.

    Attributes:
        calls: in the text's order; empty for a text without any.
        start: where the calls begin, their opening marks included; the text's length without any.
        end: where they end, their closing marks included.
        format: the format they are written in; None without any.
        repeated: a key that an object of the calls has twice, of which the last value was read; None for none.
    """

    calls: tuple[ParsedCall, ...]
    start: int
    end: int
    format: Format | None = None
    repeated: str | None = None

    def knows(self, names: Container[str]) -> bool:
        """Tell whether there are calls, and all of them name one of these tools."""
        return bool(self.calls) and all(found.call.name in names for found in self.calls)

    def stands_alone(self, text: str) -> bool:
        """Tell whether there are calls that are marked, or have their lines in the text for themselves."""
        return self.is_marked(text) or (bool(self.calls) and stands_alone(text, self.start, self.end))

    def is_marked(self, text: str) -> bool:
        """Tell whether there are calls whose marks or label in the text tell them from code in an answer."""
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
    if (plain := plain_calls(text, call_format)) is not None:
        return Detected(*plain)
    present = {name for need, names in _NEEDS.items() if need in text for name in names}
    forms = [form for form in _LOOKED_FOR if form.name in present] if known is None else [known]
    tools = {tool.name: tool for tool in declared}
    if not forms and not holds_strays(text, call_format):
        return _no_call(text, tools, known)
    scan = _Scan(text, tools, forms, known=call_format)
    scan.run()
    return scan.result()


def _no_call(text: str, declared: Mapping[str, Tool], known: Format | None, start: int = 0) -> Detected:
    """Accept a text that holds no calls from `start` on, and means none in a notation that is no format's."""
    if declared and (known is None or known.name_apart):
        meant = meant_call(text[start:], declared, objects=known is not None)
        if meant is not None:
            Cursor(text).fail(
                f"{meant[0]!a} and its arguments stand here, but no call of any format", start + meant[1]
            )
    return Detected((), len(text), len(text))


@dataclass(frozen=True)
class _Construct:
    """Calls that one mark introduces."""

    form: Format
    start: int
    end: int
    calls: tuple[ParsedCall, ...]
    repeated: str | None


@dataclass(frozen=True)
class _Fault:
    """A mark after which a call was meant and none could be read."""

    form: Format
    start: int
    failed: int
    problem: str
    meant: bool = False


@dataclass
class _Scan:
    """One walk over a text.

    Attributes:
        known: the format where it is known, so that whatever looks like a call of it is meant as one.
    """

    text: str
    declared: Mapping[str, Tool]
    forms: Sequence[Format]
    known: str | None
    constructs: list[_Construct] = field(default_factory=list)
    faults: list[_Fault] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    _steps: int = 0
    _comment_end: int = 0
    _end: int | None = None

    def run(self) -> None:
        """Find every construct and every fault outside thoughts, up to an invented output."""
        events = Events(self.text, [(form, form.mark_for(self.declared)) for form in self.forms])
        thoughts = Thoughts(self.text)
        place = 0
        while (start := events.next_start(place)) is not None:
            if (thought := events.at(OPENS_THOUGHT, start)) is not None:
                place = thoughts.end(thought) if thoughts.opens(thought) else thought.end()
            elif (end := events.at(ENDS_THOUGHT, start)) is not None and not closes(self.text, end):
                place = end.end()
            elif end is not None:
                self.constructs.clear()
                self.faults.clear()
                self.strays.clear()
                place = end.end()
            elif (output := events.at(IS_OUTPUT, start)) is not None:
                if self.constructs:
                    self._end = output.start()
                    return
                place = output.end()
            elif (comment := events.at(IS_COMMENT, start)) is not None:
                self._comment_end = end_of_comment(self.text, comment)
                events.pass_to(IS_COMMENT, self._comment_end)
            else:
                place = self._read(events, start)

    def _read(self, events: Events, start: int) -> int:
        """Read what begins at `start` by the first format that can; return where to go on."""
        faults: list[_Fault] = []
        passed = start
        for form, match in events.marks_at(start):
            if form.is_code and start < self._comment_end and not self.text.startswith(LABEL, start):
                continue
            cursor = Cursor(self.text, self.declared, match.end())
            cursor.others = self.known is None
            try:
                form.read(cursor, match)
            except CallParseError as error:
                faults.append(_Fault(form, start, max(cursor.pos, cursor.failed), error.message, cursor.meant))
                self._count(cursor)
                continue
            self._count(cursor)
            if cursor.calls:
                self.constructs.append(_Construct(form, start, cursor.pos, tuple(cursor.calls), cursor.repeated))
                return cursor.pos
            if cursor.pos > match.end():
                passed = max(passed, cursor.pos)
        announced = [fault for fault in faults if self._announced(fault)]
        if announced:  # the format that reads on the longest is the one that was meant
            self.faults.append(max(announced, key=lambda fault: fault.failed))
        if passed > start:  # a value of another kind, whose texts are no calls either
            return passed
        if not announced and (mark := events.at(IS_STRAY, start)) is not None:
            stray = stray_mark(self.text, mark, self.known)
            self.strays += [stray] if stray is not None else []
        events.pass_by(start)
        return start

    def _count(self, cursor: Cursor) -> None:
        self._steps += cursor.steps
        if self._steps > _STEPS * (len(self.text) + 100):
            raise CallParseError(f"The text begins too many malformed calls, up to character {cursor.pos + 1}.")

    def result(self) -> Detected:
        """Return the group that counts.

        Raises:
            CallParseError: a malformed call belongs to the group or follows it.
        """
        self._judge_strays()
        groups = list(self._groups())
        chosen = self._choose(groups) if len(groups) > 1 else [one for group in groups for one in group]
        starts = [one.start for one in chosen]
        nearest = {(fault.form.name, _after(fault, starts)): fault for fault in self.faults}
        for fault in self.faults:
            if not chosen or self._belongs(fault, chosen, starts, nearest):
                raise CallParseError(fault.problem)
        if not chosen:
            if any(form.is_code for form in self.forms) and (place := lone_call(self.text, self.declared)) is not None:
                Cursor(self.text).fail("the arguments of a call need their names", place)
            return _no_call(self.text, self.declared, None if self.known is None else FORMATS[self.known])
        self._refuse_cut(chosen[-1])
        if chosen[0].form.name_apart:  # a name that does not begin its line is no mark
            _no_call(self.text[: self._end], self.declared, chosen[0].form, chosen[-1].end)
        calls = tuple(call for construct in chosen for call in construct.calls)
        repeated = next((one.repeated for one in chosen if one.repeated is not None), None)
        return Detected(calls, chosen[0].start, self._closed(chosen[-1]), chosen[0].form, repeated)

    def _judge_strays(self) -> None:
        """Take marks that no call took for faults, but an end mark right behind a call.

        The prompt may have had its opening mark, or there is one too many.
        """
        ends = [one.end for one in self.constructs]
        for stray in self.strays:
            before = bisect_right(ends, stray.start) - 1
            if stray.whole and before >= 0 and not self.text[ends[before] : stray.start].strip():
                continue
            shown = ascii(self.text[stray.start : stray.start + _SHOWN])
            problem = f"At character {stray.start + 1} ({shown}): {stray.problem}."
            self.faults.append(_Fault(FORMATS[stray.form], stray.start, stray.end, problem))
        self.faults.sort(key=lambda fault: fault.start)

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
        """Return the last group; of marked calls if there are any.

        Of another format if only that one knows its tools.
        """
        pool = [group for group in groups if group[0].form.marked] or groups
        pool = [group for group in pool if no_mention(self.text, group[0].start, group[-1].end, group[0].form)] or pool
        last = pool[-1]
        if not self.declared or self._knows(last):
            return last
        others = (group for group in reversed(pool) if group[0].form is not last[0].form and self._knows(group))
        return next(others, last)

    def _knows(self, group: Iterable[_Construct]) -> bool:
        return all(found.call.name in self.declared for construct in group for found in construct.calls)

    def _announced(self, fault: _Fault) -> bool:
        """Tell whether a malformed call is meant as one, and not prose or code that looks like it."""
        if fault.meant or (self.known is not None and not self.declared and not fault.form.marked):
            return True
        return fault.form.meant(self.text[fault.start : fault.start + _NEAR], self.declared)

    def _belongs(
        self,
        fault: _Fault,
        chosen: Sequence[_Construct],
        starts: Sequence[int],
        nearest: Mapping[tuple[str, int], _Fault],
    ) -> bool:
        """Tell whether a malformed call follows the group, or stands before it without prose between them.

        Of several before the same call the nearest one is judged: prose behind it stands behind the others too.
        """
        if fault.start >= chosen[-1].end or (fault.form.marked and not chosen[0].form.marked):
            return True
        if fault.form.marked != chosen[0].form.marked:
            return False
        if bisect_left(starts, fault.start) < bisect_right(starts, fault.failed):
            return True
        after = _after(fault, starts)
        if nearest[fault.form.name, after] is not fault:
            return False
        return in_a_row(self.text[fault.failed : after], fault.form, chosen[0].form)

    def _closed(self, last: _Construct) -> int:
        """Return where the marks behind the last call end, which close all calls of the turn."""
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


def _after(fault: _Fault, starts: Sequence[int]) -> int:
    """Return where the first calls behind a malformed one begin; 0 without any."""
    place = bisect_right(starts, fault.start)
    return starts[place] if place < len(starts) else 0
