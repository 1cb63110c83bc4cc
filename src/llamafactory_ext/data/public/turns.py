"""Dialogues with calls, gathered piece by piece from any published layout into upstream's alternating turns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from itertools import pairwise
from typing import Any

from llamafactory_ext.errors import CallParseError, DataError
from llamafactory_ext.templates.messages import RESULT_SEPARATOR
from llamafactory_ext.toolcalls import ToolCall

from ..checks.audit import call_faults
from ..dialogues import ASKING, CALL, CALL_MARKS, GPT, HUMAN, OBSERVATION, SYSTEM, call, call_turn, example, turn
from ..entries import Dialogue
from ..family import Drop, Example, Foreign, Outcome
from ..files.repeated import fault_of
from .values import read_value, repeated_keys, whole_value

SAME_SIDE = "two turns of one speaker stand in a row; they are kept as one"
OPENS_WITH_ANSWER = "the assistant speaks first; that turn is left out"
NO_ANSWER = "the last turns have no answer of the assistant; they are left out"
RESULTS_DIFFER = "the results are not one for each call; they are kept as published"
NAME_AMONG_ARGUMENTS = "the name of a published call stands among its arguments; it is put in its place"
NO_TOOLS = "declares no tool; it is kept"
_ROLES = {
    "human": HUMAN,
    "user": HUMAN,
    "gpt": GPT,
    "assistant": GPT,
    "function_call": CALL,
    "tool_call": CALL,
    "observation": OBSERVATION,
    "tool": OBSERVATION,
    "function": OBSERVATION,
    "function_response": OBSERVATION,
    "tool_response": OBSERVATION,
    "system": SYSTEM,
}
# Upstream searches these in a whole turn: inside the text of an argument they are written as JSON escapes.
_MARKS_IN_JSON = re.compile(r"<(?=/?(?:tool_call|think)>)")
_SAME_SIDE = (HUMAN, GPT)


class UnusableError(DataError):
    """A record that makes no example; its text is the reason, the same for all records with this fault."""


@dataclass(frozen=True)
class Piece:
    """One published message.

    Attributes:
        text: what is said; of a turn with calls the thought before them.
        calls, results: of a turn with calls, and of one with what they returned.
    """

    role: str
    text: str = ""
    calls: tuple[dict[str, Any], ...] = ()
    results: tuple[str, ...] = ()


def guarded(read: Callable[[Mapping[str, Any]], Outcome]) -> Callable[[Any], Outcome]:
    """Make a `Family.read` of a reader: UnusableError becomes a Drop, what is no object is refused.

    A key that stands twice in an object within a text of the record is a finding, as only its last value is kept.
    """

    @wraps(read)
    def guard(record: Any) -> Outcome:
        if not isinstance(record, Mapping):
            return Foreign(f"is no JSON object but {type(record).__name__}")
        try:
            with repeated_keys() as keys:
                outcome = read(record)
        except UnusableError as fault:
            return Drop(fault.message)
        if not keys or not isinstance(outcome, Example):
            return outcome
        told = dict.fromkeys(map(fault_of, keys))
        return replace(outcome, findings=(*outcome.findings, *told))

    return guard


def messages_of(record: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return (role by upstream's name, content) of each message, tagged from and value or role and content.

    Raises:
        UnusableError: a message that is none, or of a role that no layout has.
    """
    found = []
    for message in record["conversations"]:
        if not isinstance(message, Mapping):
            raise UnusableError("a message is no JSON object")
        role = message.get("from", message.get("role"))
        content = message.get("value", message.get("content"))
        if not isinstance(role, str) or content is None:
            raise UnusableError('a message lacks "from" or "value"')
        if role.lower() not in _ROLES:
            raise UnusableError("a message is of a role that this data set does not have")
        found.append((_ROLES[role.lower()], content))
    return found


def text_of(content: Any) -> str:
    """Return the content of a message of words.

    Raises:
        UnusableError: it is no text.
    """
    if not isinstance(content, str):
        raise UnusableError("a message holds no text")
    return content.strip()


def read_call(value: Any, declared: Iterable[str], findings: list[str]) -> dict[str, Any]:
    """Read a call of {"name", "arguments" or "parameters"}, bare or inside {"function": ...}; arguments may be text.

    Raises:
        UnusableError: no such object, or arguments that are no JSON object.
    """
    if isinstance(value, Mapping) and isinstance(value.get("function"), Mapping):
        value = value["function"]
    if not isinstance(value, Mapping):
        raise UnusableError("a call is no JSON object")
    arguments = value.get("arguments", value.get("parameters"))
    if isinstance(arguments, str):
        try:
            arguments = whole_value(arguments) if arguments.strip() else {}
        except CallParseError:
            raise UnusableError("the arguments of a call are no JSON object") from None
    arguments = {} if arguments is None else arguments
    if not isinstance(arguments, Mapping):
        raise UnusableError("the arguments of a call are no JSON object")
    name = value.get("name")
    if name is None and arguments.get("name") in set(declared):
        name, arguments = arguments["name"], {key: one for key, one in arguments.items() if key != "name"}
        findings.append(NAME_AMONG_ARGUMENTS)
    return checked_call(name, arguments)


def checked_call(name: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the call, if JSON can write it.

    Raises:
        UnusableError: no name, numbers beyond JSON, lone surrogates, or values nested too deep.
    """
    if not isinstance(name, str) or not name.strip():
        raise UnusableError("a call has no name")
    try:
        made = ToolCall(name, arguments)
    except DataError:
        raise UnusableError("the arguments of a call hold what JSON cannot write") from None
    return call(made.name, dict(made.arguments))


def calls_at(text: str, start: int, declared: Iterable[str], findings: list[str]) -> tuple[list[dict[str, Any]], int]:
    """Read the call, or the list of calls, that is written as an object at `start`; also say where it ends.

    Raises:
        UnusableError: no such object stands there.
    """
    try:
        value, end = read_value(text, start)
    except CallParseError:
        raise UnusableError("a call does not parse, neither as JSON nor as a Python literal") from None
    listed = value if isinstance(value, list) else [value]
    return [read_call(one, declared, findings) for one in listed], end


def assemble(
    pieces: Iterable[Piece], *, tools: Sequence[Any], system: str, findings: Iterable[str], key: str = ""
) -> Outcome:
    """Make the example of the pieces; calls and results stay several, and in order.

    Returns:
        A Drop where upstream could not use it, or `data check` would find a fault in it.
    """
    told = list(findings)
    published = list(pieces)
    merged = _merged(published, told)
    while merged and merged[0].role == GPT:
        del merged[0]
        told.append(OPENS_WITH_ANSWER)
    while merged and merged[-1].role in ASKING:
        del merged[-1]
        told.append(NO_ANSWER)
    if published and not merged:
        return Drop("the dialogue has no answer of the assistant")
    if merged and merged[-1].role == GPT and not merged[-1].text.strip():
        return Drop("empty output")
    if any(piece.role == HUMAN and not piece.text.strip() for piece in merged):
        return Drop("empty prompt")
    for asked, answered in pairwise(merged):
        if answered.role == OBSERVATION and len(answered.results) != len(asked.calls):
            told.append(RESULTS_DIFFER)
    made = example([_turn(piece) for piece in merged], tools=tools, system=system, findings=told, key=key)
    return _checked(made)


def _merged(pieces: Iterable[Piece], findings: list[str]) -> list[Piece]:
    """Return pieces of one side in a row as one: upstream wants the two sides in alternation."""
    merged: list[Piece] = []
    for piece in pieces:
        last = merged[-1] if merged else Piece("")
        text = "\n".join(filter(None, (last.text, piece.text)))
        if last.role == piece.role:
            calls, results = (*last.calls, *piece.calls), (*last.results, *piece.results)
            merged[-1] = replace(last, text=text, calls=calls, results=results)
            findings += [SAME_SIDE] if last.role in _SAME_SIDE else []
        elif (last.role, piece.role) == (GPT, CALL):
            merged[-1] = replace(piece, text=text)
        else:
            merged.append(piece)
    return merged


def _turn(piece: Piece) -> dict[str, str]:
    if piece.role == OBSERVATION:
        return turn(OBSERVATION, RESULT_SEPARATOR.join(piece.results))
    if piece.role != CALL:
        return turn(piece.role, piece.text)
    if any(mark in piece.text for mark in CALL_MARKS):
        raise UnusableError("the words beside a call hold the tag of another one")
    text = _MARKS_IN_JSON.sub(r"\\u003c", call_turn(piece.calls)["value"])
    if not piece.text:
        return turn(CALL, text)
    return turn(CALL, f"{piece.text}\n{CALL_MARKS[0]}{text}{CALL_MARKS[1]}")


def _checked(made: Example | Drop) -> Outcome:
    if isinstance(made, Drop):
        return made
    turns = tuple((message["from"], message["value"]) for message in made.columns["conversations"])
    faults, *_ = call_faults(Dialogue(turns, made.columns["system"], made.columns["tools"]))
    return Drop(faults[0].partition(";")[0]) if faults else made
