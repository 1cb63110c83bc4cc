"""Everything that is wrong with one data file: shape, marks, role order, tools and calls, and what cutoff_len cuts.

The first part needs nothing but the file. What becomes of an example under a template and a tokenizer is asked of an
encoder (`upstream/pipeline/encoding.py` makes one); this module only counts.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from llamafactory_ext.errors import CallParseError, DataError
from llamafactory_ext.toolcalls import Tool, described_tools, detect_turn, read_tools

from ...methods import listed, methods
from ...templates.messages import results
from ...toolcalls.feedback.errors import feedback_error
from ..dialogues import CALL, CALL_MARKS, GPT, HUMAN, OBSERVATION, order_fault
from ..entries import DataEntry, Dialogue
from ..faults import Faults
from ..files.repeated import fault_of
from ..message_parts import DEFAULT_WORDS, Words
from ..read_back import Misread
from ..shape import EMPTY_RESPONSE, columns_of
from .arrow import BOM, ColumnTypes, has_bom

_MAX_KINDS = 100
_MARKED_CALL = re.compile(rf"{CALL_MARKS[0]}(.*?){CALL_MARKS[1]}", re.DOTALL)
_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)
NOT_A_CALL = (
    'a function_call turn does not parse; write {"name": ..., "arguments": {...}} as JSON, a list of such for several '
    f"calls, {CALL_MARKS[0]}...{CALL_MARKS[1]} around it if words stand before it"
)
TEXT_ARGUMENTS = "the arguments of a call are no JSON object; write one (most templates cannot render it otherwise)"
UNDECLARED = 'a call names a tool that "tools" does not declare; declare it there, or mend the name'
REPORTED = (
    'a call names a tool that "tools" does not declare, and its feedback reports the error; '
    f"{listed(tuple(row.name for row in methods() if row.weigher))} drops it"
)
BAD_TEXT_CALL = "a call within an answer does not parse; mend it"
NO_TEXT_CALL = (
    "an answer that a tool's output follows holds no call that can be read; "
    f"{listed(tuple(row.name for row in methods() if row.weigher))} leaves the record out"
)
NOT_DESCRIBED = 'a call within an answer names a tool that neither "tools" nor the prompt describes; mend the name'
BAD_TOOLS = '"tools" does not parse; write a JSON list of {"name", "description", "parameters"}'
_DESCRIBED = re.compile(r"""["'](?:name|apiCode)["']: *["']([^"'\n]+)["']""")
LEFT_OUT = "upstream leaves the record out; mend the order of turns"
UNTRAINED = "no token is trained: cutoff_len leaves none of the answer; raise it or drop the record"
ALL_SILENT = "no token is trained: the record's own marks leave every turn out of the loss"
NO_MARK = (
    f"states no mark: fine for other methods, {listed(tuple(row.title for row in methods() if row.marks))} needs one "
    "(see examples/README.md, Marks)"
)


@dataclass(frozen=True)
class Encoded:
    """How long an example is in tokens: whole, after the cut by cutoff_len, and of those the trained ones.

    Attributes:
        misread: what the template writes otherwise than the record says.
    """

    whole: int
    kept: int
    trained: int
    misread: tuple[Misread, ...] = ()


class Encoder(Protocol):
    """What `upstream/pipeline/encoding.py` makes of a template and a tokenizer."""

    words: Words

    def __call__(self, dialogue: Dialogue) -> Encoded:
        """Return the lengths of one example.

        Raises:
            DataError: it cannot be rendered.
        """


@dataclass
class Audit:
    """What a file holds and what is wrong with it.

    Attributes:
        errors: what spoils or loses records; each with places and the next step.
        remarks: what is worth knowing.
        tokens, trained, longest: over all examples that could be encoded; zeros without an encoder.
        cut: examples that cutoff_len shortens; `untrained` of all examples have no trained token left.
        silenced: turns that records leave out of the loss by marks of their own.
    """

    errors: Faults
    remarks: Faults
    records: int = 0
    calls: int = 0
    marks: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    trained: int = 0
    longest: int = 0
    cut: int = 0
    untrained: int = 0
    silenced: int = 0
    problem: str = ""

    def lines(self) -> list[str]:
        """Return all errors."""
        return [*self.errors.lines(), *([self.problem] if self.problem else [])]


def audit(entry: DataEntry, encode: Encoder | None = None) -> Audit:
    """Look at every record of the entry's file, in one pass; malformed JSON is told with the rest, not raised."""
    result = Audit(Faults(entry.path, _MAX_KINDS), Faults(entry.path, _MAX_KINDS))
    if not entry.marks.states_marks:
        result.remarks.add("the entry", NO_MARK)
    types = ColumnTypes([*columns_of(entry.entry).values(), "loss_mask"])
    try:
        for place, record in entry.records():
            result.records += 1
            types.add(record)
            _look(entry, place, record, encode, result)
        if has_bom(entry.path):
            result.remarks.add("the file", BOM)
    except DataError as error:
        result.problem = error.message
    for remark in types.remarks():
        result.remarks.add("its columns", remark)
    return result


def _look(entry: DataEntry, place: str, record: Any, encode: Encoder | None, result: Audit) -> None:
    dialogue = entry.dialogue(record)
    if isinstance(dialogue, str):
        result.errors.add(place, dialogue)
        return
    if entry.marks.states_marks:
        problem = entry.marks.problem(record)
        if problem is not None:
            result.errors.add(place, problem)
        else:
            result.marks[entry.marks.resolve(record)[0]] += 1
    order = order_fault([role for role, _ in dialogue.turns])
    if order is not None:
        result.errors.add(place, f"{order}; {LEFT_OUT}")
    faults, reported, calls = call_faults(dialogue)
    result.calls += calls
    result.silenced += len(dialogue.silent)
    for fault in faults:
        result.errors.add(place, fault)
    for remark in reported:
        result.remarks.add(place, remark)
    trained = dialogue if encode is None or encode.words == DEFAULT_WORDS else entry.dialogue(record, encode.words)
    if isinstance(trained, str):
        result.errors.add(place, trained)
        return
    for number, what in trained.lost:
        result.remarks.add(f"{place}, turn {number}" if number else place, what)
    if dialogue.turns[-1][0] == GPT and not dialogue.turns[-1][1].strip():
        result.remarks.add(place, EMPTY_RESPONSE)
    if encode is not None and order is None and not {NOT_A_CALL, BAD_TOOLS} & set(faults):
        _measure(place, trained, encode, result)


def call_faults(dialogue: Dialogue) -> tuple[list[str], list[str], int]:
    """Return what is wrong with the tools and calls of a dialogue, what is odd, and how many calls it holds.

    Each once.
    """
    faults: list[str] = []
    remarks: list[str] = []
    declared = declared_names(dialogue.tools)
    if declared is None:
        faults.append(BAD_TOOLS)
    tools = read_tools(dialogue.tools) if declared else _described(dialogue)
    known = declared if declared or declared is None else {tool.name for tool in tools}
    count = 0
    for index, (role, text) in enumerate(dialogue.turns):
        if role == GPT:
            fault, remark, found = _text_calls(text, dialogue, index, tools)
            faults += fault
            remarks += remark
            count += found
        if role != CALL:
            continue
        calls = _calls(text)
        if calls is None:
            faults.append(NOT_A_CALL)
            continue
        count += len(calls)
        faults += [fault_of(key) for key in [_repeated(text)] if key is not None]
        faults += [TEXT_ARGUMENTS for call in calls if not isinstance(call["arguments"], Mapping)]
        for number, call in enumerate(calls):
            if known is None or call["name"] in known:
                continue
            is_known = _reports_error(dialogue, index + 1, number, len(calls))
            (remarks if is_known else faults).append(REPORTED if is_known else UNDECLARED)
    return list(dict.fromkeys(faults)), list(dict.fromkeys(remarks)), count


def _repeated(text: str) -> str | None:
    """Return a key that an object of the calls of a turn has twice."""
    try:
        return detect_turn(text).repeated
    except CallParseError:
        return None


def _described(dialogue: Dialogue) -> tuple[Tool, ...]:
    """Return the tools that stand as JSON in the prompts, which count where none is declared."""
    prompts = (text for role, text in dialogue.turns if role == HUMAN)
    return described_tools((dialogue.system, *prompts))


def _reports_error(dialogue: Dialogue, index: int, number: int, calls: int) -> bool:
    """Tell whether the turn at `index` holds feedback that reports an error of the `number`-th of so many calls."""
    if index >= len(dialogue.turns) or dialogue.turns[index][0] != OBSERVATION:
        return False
    text = dialogue.turns[index][1]
    parts = results(text)
    return feedback_error(parts[number] if len(parts) == calls else text) is not None


def _text_calls(text: str, dialogue: Dialogue, index: int, tools: Sequence[Tool]) -> tuple[list[str], list[str], int]:
    """Return (faults, remarks, number of calls) of an answer that states calls in its text, as API-Bank's do."""
    before = "\n".join([dialogue.system, *(said for _, said in dialogue.turns[:index])])
    known = {tool.name: tool for tool in tools}
    for name in _DESCRIBED.findall(before):
        known.setdefault(name, Tool(name))
    answered = index + 1 < len(dialogue.turns) and dialogue.turns[index + 1][0] == OBSERVATION
    try:
        found = detect_turn(text, known.values())
    except CallParseError:
        return [BAD_TEXT_CALL], [], 0
    if answered and not found.calls:
        return [], [NO_TEXT_CALL], 0
    if not answered and not (found.knows(known) and found.stands_alone(text)) and not found.is_marked(text):
        return [], [], 0  # code, or words in parentheses
    faults = [NOT_DESCRIBED for one in found.calls if known and one.call.name not in known]
    faults += [fault_of(found.repeated)] if found.repeated is not None else []
    return faults, [], len(found.calls)


def declared_names(tools: str) -> set[str] | None:
    """Return the names of the declared tools; None if the text is no list of tools."""
    if tools.strip() and not tools.lstrip().startswith("["):
        return None  # upstream's templates go through a list
    try:
        return {tool.name for tool in read_tools(tools)}
    except DataError:
        return None


def _calls(text: str) -> list[dict[str, Any]] | None:
    """Return the calls of a function_call turn as upstream finds them; None if it finds none."""
    marked = _MARKED_CALL.search(text)
    body = marked[1] if marked is not None else _THOUGHT.sub("", text, count=1)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    calls = value if isinstance(value, list) else [value]
    valid = all(isinstance(call, dict) and isinstance(call.get("name"), str) and "arguments" in call for call in calls)
    return calls if calls and valid else None


def _measure(place: str, dialogue: Dialogue, encode: Encoder, result: Audit) -> None:
    try:
        encoded = encode(dialogue)
    except DataError as error:
        result.errors.add(place, error.message)
        return
    for misread in encoded.misread:
        result.errors.add(misread.place(place), f"{misread.what}; mend the record, or use another template")
    result.tokens += encoded.kept
    result.trained += encoded.trained
    result.longest = max(result.longest, encoded.whole)
    if encoded.kept < encoded.whole:
        result.cut += 1
        result.remarks.add(place, "cutoff_len cuts the example")
    if encoded.trained > 0:
        return
    result.untrained += 1
    if dialogue.silent and encoded.kept == encoded.whole:
        result.remarks.add(place, ALL_SILENT)
    else:
        result.errors.add(place, UNTRAINED)
