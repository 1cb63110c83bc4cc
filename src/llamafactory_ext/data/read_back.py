"""Compares what a template has written with the record: calls, words beside them, thoughts, tools.

LLaMA-Factory's loader and templates make text of a record. That text is read back here by the one reader of calls;
what is not the record's is a finding.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import CallParseError
from ..toolcalls import FORMATS, ParsedCall, Tool, detect_turn
from ..toolcalls.readings import Reader
from ..toolcalls.thoughts import split_thought
from ..toolcalls.untyped import as_untyped

OTHER_CALLS = "the template writes other calls than the record has"
NO_WORDS = "the template leaves out the words beside a call"
NO_THOUGHT = "the template leaves out the thought before an answer or a call"
REPEATED = "a call has a key twice, of which readers keep the last value"
NO_TOOLS = "the prompt lacks declared tools"
_SHOWN = 120
_MAY_CALL = re.compile(r"[(\[{<]")
_FENCE = re.compile(r"```\w*")


@dataclass(frozen=True)
class Misread:
    """One difference between a record and the text that is trained.

    Attributes:
        turn: index of the turn; -1 for the prompt.
        what: the kind of difference.
        detail: what was written in the record, and what was read.
    """

    turn: int
    what: str
    detail: str

    def place(self, record: str) -> str:
        """Return where it is, and what differs, in words."""
        turn = f", turn {self.turn + 1}" if self.turn >= 0 else ""
        return f"{record}{turn}: {self.detail}".removeprefix(", ")


def compare_turn(
    turn: int,
    message: Mapping[str, str],
    text: str,
    tools: Sequence[Tool] = (),
    call_format: str | None = None,
    read: Reader = detect_turn,
) -> list[Misread]:
    """Return what a model's turn says otherwise than the record.

    Args:
        turn: its index.
        message: with "role" and "content", as the record has it.
        text: what the template made of it.
        tools: those that are declared.
        call_format: how the template writes calls, where that is known.
        read: reads both texts.
    """
    thought, spoken = split_thought(message["content"])
    found: list[Misread] = []
    inner = _words(thought)
    if len(inner) > 2 and not _holds(text, " ".join(inner[1:-1])):
        found.append(Misread(turn, NO_THOUGHT, f"record {_short(thought)}"))
    if message["role"] != "function":
        return found
    try:
        recorded = read(spoken, tools, None)
    except CallParseError:
        return found  # the record's own fault, which is told elsewhere
    if not recorded.calls:
        return found
    if recorded.repeated is not None:
        found.append(Misread(turn, REPEATED, f'record {_short(spoken)}, "{recorded.repeated}"'))
    try:
        written = read(text, tools, call_format).calls
    except CallParseError:
        written = ()
    if not _same(recorded.calls, written, tools, call_format):
        detail = f"record {_short(_shown(recorded.calls))}, written {_short(text)}"
        return [*found, Misread(turn, OTHER_CALLS, detail)]
    for beside in (spoken[: recorded.start], spoken[recorded.end :]):
        words = " ".join(_words(_FENCE.sub(" ", beside)))
        if words and not _holds(text, words):
            found.append(Misread(turn, NO_WORDS, f"record {_short(words)}"))
    return found


def repeated_in_answer(
    turn: int, text: str, tools: Sequence[Tool] = (), *, answered: bool = False, read: Reader = detect_turn
) -> list[Misread]:
    """Return a finding if an answer states calls in its text, one of which has a key twice.

    Args:
        turn: its index.
        text: as the record has it, which is trained as it stands.
        tools: those that are declared.
        answered: whether a tool's output follows.
        read: reads the text.
    """
    if _MAY_CALL.search(text) is None:
        return []
    try:
        found = read(text, tools, None)
    except CallParseError:
        return []  # told elsewhere where it is a call
    if found.repeated is None:
        return []
    stated = found.knows({tool.name for tool in tools}) and found.stands_alone(text)
    if not (answered or stated or found.is_marked(text)):
        return []  # code, or words in parentheses
    return [Misread(turn, REPEATED, f'record {_short(text)}, "{found.repeated}"')]


def missing_tools(prompt: str, tools: Sequence[Tool]) -> list[Misread]:
    """Return a finding if the prompt does not name every declared tool."""
    missing = [tool.name for tool in tools if tool.name not in prompt]
    return [Misread(-1, NO_TOOLS, ", ".join(missing[:5]))] if missing else []


def _same(
    recorded: Sequence[ParsedCall], written: Sequence[ParsedCall], tools: Sequence[Tool], call_format: str | None
) -> bool:
    """Tell whether both are the same calls; what a format without types cannot show is typed by the schemas."""
    one, other = ([found.call for found in calls] for calls in (recorded, written))
    if one == other:
        return True
    if call_format is None or FORMATS[call_format].typed:
        return False
    declared = {tool.name: tool for tool in tools}
    return [as_untyped(call, declared) for call in one] == [as_untyped(call, declared) for call in other]


def _words(text: str) -> list[str]:
    return text.split()


def _holds(text: str, words: str) -> bool:
    return words in " ".join(text.split())


def _shown(calls: Sequence[ParsedCall]) -> str:
    return "; ".join(f"{found.call.name}({json.dumps(found.call.arguments, ensure_ascii=False)})" for found in calls)


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
