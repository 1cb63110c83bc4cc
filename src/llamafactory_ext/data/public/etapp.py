"""ETAPP's training data (arXiv:2503.00771): training_data_qwen_format_*.json of a user's own clone.

A file is a JSON list of `{"input", "output"}`, one record for each reply: the ChatML text before an assistant's turn,
and that turn. The records of a dialogue are beginnings of each other: the longest becomes one dialogue, the others are
dropped with that reason. The files themselves were not at hand: this is the layout of programs that read them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import CallParseError, DataError
from ...toolcalls import detect
from ..dialogues import CALL, GPT, HUMAN, OBSERVATION, call, call_turn, example, turn
from ..family import SHAREGPT, Drop, Family, Foreign, Outcome, always, by_patterns
from ..files.reading import iter_records

_TURN = re.compile(r"<\|im_start\|>(\w+)\n(.*?)(?:<\|im_end\|>|\Z)", re.DOTALL)
_TOOLS = re.compile(r"<tools>\s*(.*?)\s*</tools>", re.DOTALL)
_RESULT = re.compile(r"<tool_response>\s*(.*?)\s*</tool_response>", re.DOTALL)
_NO_CALL = "a call cannot be read; its turn is kept as an answer"
_COVERED = "covered"
Turns = tuple[tuple[str, str], ...]


def _is_record(record: Any) -> bool:
    return (
        isinstance(record, Mapping)
        and isinstance(record.get("input"), str)
        and isinstance(record.get("output"), str)
        and "<|im_start|>" in record["input"]
    )


def _turns(record: Mapping[str, Any]) -> Turns:
    """Return role and text of all turns, the reply last."""
    found = [(role, text.strip()) for role, text in _TURN.findall(record["input"])]
    if found and found[-1] == ("assistant", ""):
        found.pop()
    return (*found, ("assistant", record["output"].replace("<|im_end|>", "").strip()))


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    """Give each record; one that is the beginning of another says so."""
    begun: set[Turns] = set()
    for _, record in iter_records(path):
        if _is_record(record):
            turns = _turns(record)
            begun |= {turns[:length] for length in range(2, len(turns)) if turns[length - 1][0] == "assistant"}
    for place, record in iter_records(path):
        covered = _is_record(record) and _turns(record) in begun
        yield place, {**record, _COVERED: True} if covered else record


def _read(record: Any) -> Outcome:
    if not _is_record(record):
        return Foreign('has no texts "input", in ChatML, and "output"')
    if record.get(_COVERED) is True:
        return Drop("is the beginning of another record's dialogue, which holds it")
    turns = list(_turns(record))
    system = turns.pop(0)[1] if turns[0][0] == "system" else ""
    if turns[0][0] != "user" or {role for role, _ in turns} - {"user", "assistant", "tool"}:
        return Foreign("does not begin with a user's turn, or has a turn of another role")
    made: list[dict[str, str]] = []
    findings: list[str] = []
    for role, text in turns:
        if role == "assistant":
            made.append(_spoken(text, findings))
        elif role == "tool" or (made and made[-1]["from"] == CALL):
            made.append(turn(OBSERVATION, "\n".join(_RESULT.findall(text) or [text])))
        else:
            made.append(turn(HUMAN, text))
    tools = _tools(system)
    if tools is None:
        return Foreign("lists its tools within <tools> as something else than JSON")
    return example(made, tools=tools, system=_TOOLS.sub("", system).strip(), findings=findings)


def _tools(system: str) -> list[Any] | None:
    """Return the tools of the system text, one a line or in a list; None where they cannot be read."""
    found = _TOOLS.search(system)
    if found is None:
        return []
    try:
        return [json.loads(line) for line in found[1].splitlines() if line.strip()]
    except (ValueError, RecursionError):
        pass
    try:
        listed = json.loads(found[1])
    except (ValueError, RecursionError):
        return None
    return listed if isinstance(listed, list) else None


def _spoken(text: str, findings: list[str]) -> dict[str, str]:
    """Return a reply as an answer, or as calls behind what it says first."""
    form, mark = ("qwen", "<tool_call>") if "<tool_call>" in text else ("react", "Action:")
    if mark not in text:
        return turn(GPT, text.rpartition("Final Answer:")[2].strip() if "Final Answer:" in text else text)
    try:
        calls = [found.call for found in detect(text, call_format=form)]
    except (CallParseError, DataError):
        calls = []
    if not calls:
        findings.append(_NO_CALL)
        return turn(GPT, text)
    thought = text.partition(mark)[0].strip().removeprefix("Thought:").strip()
    return call_turn([call(one.name, dict(one.arguments)) for one in calls], thought)


FAMILY = Family(
    name="etapp",
    about="ETAPP: training_data_*.json of your own clone",
    mark="tool",
    task="etapp",
    layout=SHAREGPT,
    choose=by_patterns(train=("training_data_*.json",)),
    split_of=always("train"),
    read=_read,
    records=_records,
)
