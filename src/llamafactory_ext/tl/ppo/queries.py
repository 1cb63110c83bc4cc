"""Queries for PPO out of dialogues: one per tool call that is the right next turn, with the tools that were declared.

What it does: finds the calls, the tools (in the tools column, or as JSON in the prompt), and everything that cannot be
used, counted by kind. What it does not do: read files (`upstream/pipeline/dialogues.py` does) or encode, which the
caller's template does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...data.intake import CUT_DROPPED, DROP, ERROR, KEEP, Cut, Intake
from ...data.read_back import compare_turn
from ...errors import CallParseError, DataError
from ...toolcalls import Tool, described_tools, detect_turn, read_tools
from ...toolcalls.feedback.errors import feedback_error
from ...toolcalls.formats.api_bank import LABEL
from .rewards import Query, RewardFunction, fault_of

Encode = Callable[[Sequence[Mapping[str, str]], str, str], tuple[Sequence[int], str]]
_SHOWN = 3


@dataclass
class Faults:
    """What cannot be used.

    Attributes:
        places: where, by what is wrong.
        seen: queries looked at.
        long: where a prompt is longer than cutoff_len.
        intake: what becomes of the records.
    """

    places: dict[str, list[str]] = field(default_factory=dict)
    seen: int = 0
    long: list[str] = field(default_factory=list)
    intake: Intake = field(default_factory=Intake)

    def add(self, what: str, place: str) -> None:
        """Remember one."""
        self.places.setdefault(what, []).append(place)

    def lines(self) -> list[str]:
        """Return one line per kind, with the number and the first places."""
        return [
            f"{what}: {len(places)} of {self.seen} ({', '.join(places[:_SHOWN])}{', ...' * (len(places) > _SHOWN)})"
            for what, places in self.places.items()
        ]


def make_queries(
    examples: Iterable[Mapping[str, Any]],
    encode: Encode,
    reward: RewardFunction,
    *,
    longest: int,
    last_only: bool,
    skip_bad: bool,
    action: str = KEEP,
    call_format: str | None = None,
) -> tuple[list[Query], Faults]:
    """Return all queries of a data set.

    Args:
        examples: as upstream aligns them: `_prompt` and `_response` messages, `_system`, `_tools`.
        encode: (messages, system, tools) -> the prompt's tokens, and the last message as the model should write it.
        reward: what scores the answers; a right answer that it cannot read is a fault.
        longest: tokens of a prompt.
        last_only: the last call of a dialogue alone.
        skip_bad: leave out what cannot be used.
        action: as `cutoff_action`. No prompt is cut, for its answer would be another one: with "keep" what is left of
            a dialogue are the calls whose prompts fit, with "drop" a dialogue with a longer one is left out.
        call_format: how the template writes calls, where that is known.

    Raises:
        DataError: something cannot be used, or nothing can.
    """
    queries: list[Query] = []
    faults = Faults()
    for number, example in enumerate(examples, 1):
        queries += _of_example(
            example, number, encode, reward, longest, action, faults, last_only=last_only, call_format=call_format
        )
    if faults.long and (action == ERROR or not (queries or faults.places)):
        advice = "Raise cutoff_len"
        if action == ERROR:
            advice += ", or set cutoff_action: drop to train without these dialogues, or keep for the calls that fit"
        raise DataError(
            f"cutoff_len: {longest} is exceeded by {len(faults.long)} prompts ({', '.join(faults.long[:_SHOWN])})"
            f"{'' if action == ERROR else ', which leaves nothing to train'} (cutoff_action: {action}). {advice}."
        )
    if faults.places and not skip_bad:
        advice = "Correct the data, or set tl_skip_bad: true to train without them."
        lines = [f"  - {line}" for line in faults.lines()]
        raise DataError("\n".join(["Queries of the training data cannot be used:", *lines, advice]))
    if not queries:
        lines = [f"  - {line}" for line in faults.lines()]
        raise DataError("\n".join(["There is no query to train on: no turn of the data is a usable call.", *lines]))
    return queries, faults


def _of_example(
    example: Mapping[str, Any],
    number: int,
    encode: Encode,
    reward: RewardFunction,
    longest: int,
    action: str,
    faults: Faults,
    *,
    last_only: bool,
    call_format: str | None,
) -> Iterator[Query]:
    """Return the queries of one example; what cannot be used goes into `faults`."""
    where, intake = example.get("_place") or f"example {number}", faults.intake
    intake.read += 1
    if example.get("_skipped") or example.get("_fault"):
        intake.leave_out(example.get("_skipped") or example["_fault"], where)
        if example.get("_fault"):
            faults.seen += 1
            faults.add(example["_fault"], where)
        return
    for place, what in json.loads(example.get("_lost") or "[]"):
        intake.lost.note(what, f"{where}, turn {place}" if place else where)
    silent = {int(place) for place in (example.get("_silent") or "").split(",") if place}
    turns = [messages for messages in _call_turns(example) if len(messages) - 1 not in silent]
    intake.silenced += len(silent)
    cut, made = Cut(1), list[Query]()
    for messages in turns[-1 if last_only else 0 :]:
        place = f"{where}, turn {len(messages)}"
        faults.seen += 1
        query, fault = _query(messages, example, encode, place, call_format)
        if query is not None:
            fault = fault_of(query, reward)
            for misread in compare_turn(len(messages) - 1, messages[-1], query.reference, query.tools, call_format):
                intake.misread.note(misread.what, misread.place(where))
            intake.highest_id = max([intake.highest_id, *query.ids])
            if fault is None and len(query.ids) > longest:
                cut.calls += 1
                faults.long.append(place)
                continue
        if fault is not None:
            faults.add(fault, place)
        elif query is not None:
            made.append(query)
    dropped = action == DROP and cut.calls > 0
    made = [] if dropped else made
    cut.cut, cut.untrained = int(cut.calls > 0), int(cut.calls > 0 and not made)
    intake.cut.setdefault(example.get("_kind") or "all", Cut()).add(cut)
    if not made:
        why = "cutoff_len leaves no call of it" if cut.calls else "no usable call" if turns else "no call to learn"
        intake.leave_out(CUT_DROPPED if dropped else why, where)
    yield from made


def declared_tools(tools: str | None, texts: Iterable[str]) -> tuple[Tool, ...]:
    """Return the tools of a tools column, or those that stand as JSON objects in the texts of a prompt.

    Raises:
        DataError: the column is no JSON list of tools.
    """
    if tools and tools.strip() not in ("", "[]"):
        return read_tools(tools)
    return described_tools(texts)


def _query(
    messages: Sequence[Mapping[str, str]],
    example: Mapping[str, Any],
    encode: Encode,
    place: str,
    call_format: str | None,
) -> tuple[Query | None, str | None]:
    system, tools = example.get("_system") or "", example.get("_tools") or ""
    try:
        declared = declared_tools(tools, (system, *(message["content"] for message in messages[:-1])))
    except DataError as error:
        return None, f"a tool cannot be read: {error.message[:100]}"
    try:
        ids, reference = encode(messages, system, tools)
    except Exception as error:  # upstream's formatters raise whatever the data makes them stumble on
        return None, f"the template cannot write it ({type(error).__name__}: {str(error).splitlines()[0][:80]})"
    if any(token is None for token in ids):
        return None, "the tokenizer lacks a token of the template"
    written_by_template = messages[-1]["role"] == "function"
    return Query(tuple(ids), reference, declared, place, call_format if written_by_template else None), None


def _call_turns(example: Mapping[str, Any]) -> Iterator[list[Mapping[str, str]]]:
    """Return the dialogue up to and including each call; where tools stand in the prompt, an answer may be one.

    Calls that were answered with an error are no right answers.
    """
    messages = [*example["_prompt"], *example["_response"][:1]]
    said = (message["content"] for message in messages if message["role"] == "user")
    try:
        tools = declared_tools(example.get("_tools"), (example.get("_system") or "", *said))
    except DataError:
        tools = ()  # the query of each call tells
    for place, message in enumerate(messages):
        following = messages[place + 1] if place + 1 < len(messages) else None
        answered = following is not None and following["role"] == "observation"
        if message["role"] != "function" and not (
            message["role"] == "assistant" and _calls_one(message, tools, answered=answered)
        ):
            continue
        if following and answered and feedback_error(following["content"]):
            continue
        yield messages[: place + 1]


def _calls_one(message: Mapping[str, str], tools: Sequence[Tool], *, answered: bool) -> bool:
    """Tell whether an answer calls tools that are known, or tries to; what a tool's output follows is a call."""
    try:
        found = detect_turn(message["content"], tools)
    except CallParseError:
        return bool(tools) and (answered or LABEL in message["content"])
    known = found.knows({tool.name for tool in tools}) and found.stands_alone(message["content"])
    return known or found.is_marked(message["content"]) or (answered and bool(found.calls))
