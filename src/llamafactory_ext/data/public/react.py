"""RoTBench (arXiv:2401.08326) and ToolEyes (arXiv:2401.00741): test sets in one prompt format, by the same authors.

The system turn states the ReAct format and lists the tools as JSON. They become the example's `tools`, so that each
model is asked in its own template's words; the published prompt is kept whole in `reference`.

RoTBench's third turn has two calls of the assistant and what they gave before the turn that is asked for. A user's
answer to a call of `ask_to_user` is what that call gave: an observation, as each tool's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..dialogues import GPT, HUMAN, OBSERVATION, call_turn, example, names_of, published_call, split_react, turn
from ..family import SHAREGPT, Chosen, Drop, Example, Family, Foreign, Outcome, always, by_patterns

_LEVELS = ("clean", "slight", "medium", "heavy", "union")
_THIRD = "third-"  # as the scorer's ids of the third turn begin
_BEFORE_TOOLS = "following tools:\n"
_NEXT_ACTION = re.compile(r"\n\s*(?:Thought:[^\n]*\n\s*)?(?=Action:)")
_NOT_REACT = 'a published alternative is no "Action: ... Action Input: ..."; it is kept in "reference"'


def _read_rotbench(record: Any) -> Outcome:
    """Read a record; the first alternative is the answer, all stay in `reference`, where the scorer reads them."""
    opened = _opening(record)
    if isinstance(opened, Foreign):
        return opened
    question, tools = opened
    turns = record["conversations"]
    if len(turns) < 3 or not isinstance(turns[-1].get("value"), list):
        return Foreign("has no third turn with a list of alternative calls")
    before = _turns_before(turns[2:-1], names_of(tools))
    if isinstance(before, Foreign):
        return before
    earlier, findings = before
    golds = [_split(gold) for gold in turns[-1]["value"] if isinstance(gold, str)]
    findings += [_NOT_REACT] if None in golds or len(golds) < len(turns[-1]["value"]) else []
    calls = []
    for gold in golds:
        if gold is not None:
            spoken, defects = _call_turn(gold, names_of(tools))
            calls.append(spoken)
            findings += defects
    if not calls:
        return Drop("no gold call")
    made = example([turn(HUMAN, question), *earlier, calls[0]], tools=tools, reference=record, findings=findings)
    return replace(made, prefix=_THIRD) if earlier and isinstance(made, Example) else made


def _turns_before(turns: Sequence[Mapping[str, Any]], declared: set[str]) -> tuple[list[Any], list[str]] | Foreign:
    """Return the calls before the one that is asked for, each with what it gave, and their defects."""
    if len(turns) % 2:
        return Foreign("has a call without feedback before its last turn")
    made: list[dict[str, str]] = []
    findings: list[str] = []
    for said, given in zip(turns[::2], turns[1::2], strict=True):
        texts = said.get("value"), given.get("value")
        call = _split(texts[0]) if said.get("from") == "assistant" and isinstance(texts[0], str) else None
        if call is None or given.get("from") not in ("function", "user") or not isinstance(texts[1], str):
            return Foreign("has turns before its last that are no call and its feedback")
        spoken, defects = _call_turn(call, declared)
        made += [spoken, turn(OBSERVATION, texts[1])]
        findings += defects
    return made, findings


def _split(text: str) -> tuple[str, list[tuple[str, str]]] | None:
    """Return thought and calls of a ReAct text, each (name, arguments as text); None for another text.

    JSON holds no line breaks within a text, so a line that begins another action begins another call. Where one of
    several has no JSON arguments there is no telling what belongs to which.
    """
    found = split_react(text)
    if found is None:
        return None
    thought, name, given = found
    first, *others = _NEXT_ACTION.split(given)
    if not others:
        return thought, [(name, given)]
    calls = [(name, first.strip())]
    for other in others:
        call = split_react(other)
        if call is None:
            return None
        calls.append((call[1], call[2]))
    return (thought, calls) if all(_is_object(arguments) for _, arguments in calls) else None


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _call_turn(split: tuple[str, list[tuple[str, str]]], declared: set[str]) -> tuple[dict[str, str], list[str]]:
    """Return a turn of all the calls of a text, and their defects."""
    thought, written = split
    made = [published_call(name, arguments, declared) for name, arguments in written]
    return call_turn([call for call, _ in made], thought), [defect for _, defects in made for defect in defects]


def _read_tooleyes(record: Any) -> Outcome:
    """Read a record without a gold answer: its last turn is empty, so that upstream can read it for prediction."""
    opened = _opening(record)
    if isinstance(opened, Foreign):
        return opened
    question, tools = opened
    if len(record["conversations"]) != 2 or "path" not in record:
        return Foreign('has more turns than system and user, or no "path" of its tools')
    return example([turn(HUMAN, question), turn(GPT, "")], tools=tools, reference=record)


def _opening(record: Any) -> tuple[str, list[Any]] | Foreign:
    """Return (question, tools) of the first two turns."""
    if not isinstance(record, Mapping):
        return Foreign(f"is no JSON object but {type(record).__name__}")
    turns = record.get("conversations")
    if not isinstance(turns, list) or not all(isinstance(message, Mapping) for message in turns):
        return Foreign('has no "conversations"')
    if [message.get("from") for message in turns[:2]] != ["system", "user"]:
        return Foreign("does not begin with a system and a user turn")
    prompt, question = turns[0].get("value"), turns[1].get("value")
    if not isinstance(prompt, str) or not isinstance(question, str):
        return Foreign("begins with turns that hold no text")
    _, found, rest = prompt.partition(_BEFORE_TOOLS)
    try:
        tools, _ = json.JSONDecoder().raw_decode(rest.lstrip())
    except (ValueError, RecursionError):
        tools = None
    if not found or not isinstance(tools, list):
        return Foreign("has a system turn that lists no tools as JSON")
    return question, tools


def _choose_rotbench(folder: Path, split: str) -> Chosen:
    """Return the clean environment of the first turn, or of the third where its folder is given.

    The noisy environments are sets of their own and are named one by one.
    """
    for place in (folder, folder / "First_Turn", folder / "Data" / "First_Turn"):
        files = {level: place / f"{level}.json" for level in _LEVELS if (place / f"{level}.json").is_file()}
        if split == "test" and "clean" in files:
            others = tuple((path, "another environment: name the file") for path in files.values())
            return Chosen((files["clean"],), others[1:])
    return Chosen(())


ROTBENCH = Family(
    name="rotbench",
    about="RoTBench: clean.json of First_Turn or Third_Turn, or any of slight, medium, heavy, union; a test set",
    mark="tool",
    task="tool",
    layout=SHAREGPT,
    choose=_choose_rotbench,
    split_of=always("test"),
    read=_read_rotbench,
)
TOOLEYES = Family(
    name="tooleyes",
    about="ToolEyes: scenario_data_zero_processed.json; a test set without gold answers",
    mark="tool",
    task="tool",
    layout=SHAREGPT,
    choose=by_patterns(test=("scenario_data_zero_processed.json", "scenario_data*.json")),
    split_of=always("test"),
    read=_read_tooleyes,
)
