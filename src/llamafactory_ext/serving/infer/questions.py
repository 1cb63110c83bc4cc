"""What a model is asked: the items of a benchmark's published files, or the records of any data file.

Nothing here knows a tokenizer. `prompts.py` makes of a question the text or the messages that a model gets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ...benchmarks import benchmark_of
from ...data.entries import DataEntry, Dialogue
from ...data.family import Example
from ...errors import DataError
from ...methods import load
from ...metrics.references import Item, read_references
from ...templates import Message
from ...templates.messages import Role
from ...toolcalls import Tool
from ...toolcalls import read_tools as read_column

_ROLES: Final[Mapping[str, Role]] = {
    "human": "user",
    "gpt": "assistant",
    "function_call": "function",
    "observation": "observation",
}


@dataclass(frozen=True)
class Question:
    """One item as a dialogue that awaits a reply.

    Attributes:
        id: as scores name it.
        benchmark: whose item it is.
        turns: the last is the user's or a tool's.
        system: replaces the default system text.
        tools: what may be called.
    """

    id: str
    benchmark: str
    turns: tuple[Message, ...]
    system: str = ""
    tools: tuple[Tool, ...] = ()


@dataclass(frozen=True)
class QuestionSet:
    """All questions of one run, and what was left out and why."""

    benchmark: str
    questions: tuple[Question, ...]
    notes: tuple[str, ...] = ()


def of_benchmark(benchmark: str, source: Path) -> QuestionSet:
    """Return the items of a benchmark's published files, asked as our converters ask them.

    Raises:
        OptionError: no such benchmark.
        DataError: files missing, or not of this benchmark.
    """
    references = read_references(benchmark, source)
    questions, notes = [], []
    for item in references.items:
        columns = _columns(benchmark, item)
        if isinstance(columns, str):
            notes.append(f"{item.id} is not asked: {columns}")
            continue
        questions.append(_question(item.id, benchmark, _dialogue(columns)))
    return _checked(benchmark, questions, notes, source)


def of_file(path: Path, benchmark: str) -> QuestionSet:
    """Return the records of a data file in LLaMA-Factory's layouts; the last reply of each is what is asked for.

    Ids are the records' own, or their places where they have none.

    Raises:
        DataError: missing, malformed, or records that are no dialogues, with file and place.
    """
    entry = DataEntry.of_file(path)
    questions, notes = [], []
    for number, (place, record) in enumerate(entry.records()):
        dialogue = entry.dialogue(record)
        if isinstance(dialogue, str):
            raise DataError(f"{path}, {place}: {dialogue}.")
        notes += [f"{path.name}, {place}, turn {turn}: {what}" for turn, what in dialogue.lost]
        own = record.get("id", number) if isinstance(record, Mapping) else number
        try:
            questions.append(_question(str(own), benchmark, dialogue))
        except DataError as error:
            raise DataError(f"{path}, {place}: {error.message}") from None
    return _checked(benchmark, questions, notes, path)


def read_tools(text: str) -> tuple[Tool, ...]:
    """Return the tools of a record's `tools` column: JSON text, one tool or a list of them.

    Raises:
        DataError: something else.
    """
    try:
        return read_column(text)
    except DataError as error:
        raise DataError(
            f'its tools cannot be read ({error}); write a JSON list of objects with "name", "description" and '
            '"parameters"'
        ) from None


def _columns(benchmark: str, item: Item) -> Mapping[str, Any] | str:
    """Return what the benchmark's row makes of an item, or in words why it makes nothing."""
    row = benchmark_of(benchmark)
    assert row is not None  # its references were read
    read = load(row.question) if row.question else load(row.families[0]).read
    outcome = read(dict(item.record))
    if isinstance(outcome, Example):
        return outcome.columns
    return str(getattr(outcome, "reason", "") or getattr(outcome, "fault", ""))


def _dialogue(columns: Mapping[str, Any]) -> Dialogue:
    """Return a converted example as upstream sees it."""
    if "conversations" in columns:
        turns = tuple((turn["from"], turn["value"]) for turn in columns["conversations"])
        return Dialogue(turns, columns.get("system", ""), columns.get("tools", ""))
    prompt = "\n".join(columns[key] for key in ("instruction", "input") if columns.get(key))
    return Dialogue((("human", prompt), ("gpt", columns["output"])))


def _question(own_id: str, benchmark: str, dialogue: Dialogue) -> Question:
    """Return the dialogue up to its last reply.

    Raises:
        DataError: unknown roles, or nothing that awaits a reply.
    """
    unknown = sorted({role for role, _ in dialogue.turns} - _ROLES.keys())
    if unknown:
        raise DataError(f"{own_id} has turns of unknown roles: {', '.join(unknown)}; use {', '.join(_ROLES)}.")
    turns = [Message(_ROLES[role], text) for role, text in dialogue.turns]
    if turns and turns[-1].by_model:
        turns.pop()
    if not turns or turns[-1].by_model:
        raise DataError(f"{own_id} has no turn of a user or a tool that awaits a reply; mend the record.")
    return Question(own_id, benchmark, tuple(turns), dialogue.system, read_tools(dialogue.tools))


def _checked(benchmark: str, questions: list[Question], notes: Iterable[str], source: Path) -> QuestionSet:
    if not questions:
        raise DataError(f"{source} holds nothing to ask; name another file or folder.")
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise DataError(f"{source}: the id {question.id!r} occurs twice; give each record an id of its own.")
        seen.add(question.id)
    return QuestionSet(benchmark, tuple(questions), tuple(notes))
