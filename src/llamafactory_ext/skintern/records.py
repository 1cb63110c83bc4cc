"""Read records with knowledge, which the steps take away from the prompt (arXiv:2409.13183, section 3.1).

An entry of dataset_info.json names the columns under "columns": `knowledge` holds a text or an object with "summary"
and "supplement", `rationale` the teacher's reasoning, `task` and `id` what they say. Tools are read from the entry's
own tools, and serve as knowledge for the compressor `tools`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..data.dialogues import CALL, GPT, HUMAN
from ..data.entries import DataEntry
from ..data.public.reasoning import CUE
from ..data.shape import columns_of
from ..errors import CallParseError, DataError
from ..toolcalls import detect
from .compress_tools import read_tools

KNOWLEDGE: Final = "knowledge"
RATIONALE: Final = "rationale"
PARTS: Final = ("summary", "supplement", "examples")


@dataclass(frozen=True)
class Record:
    """A record as SKIntern sees it.

    Attributes:
        place: in its file, for messages.
        id: of the column `id`, else its index.
        task: of the column `task`, else "".
        question: text of the first user turn; nothing else of the prompt is asked for.
        answer: text of the first answer.
        knowledge: its parts by name: "summary" and "supplement"; a plain text is a summary.
        rationale: what the answer is to be instead, "" for the answer itself.
        tools: JSON text of the tools, "" for none.
        called: names of the tools that the answers call.
        raw: the record as the file has it.
    """

    place: str
    id: str
    task: str
    question: str
    answer: str
    knowledge: Mapping[str, str]
    rationale: str
    tools: str
    called: frozenset[str]
    raw: Mapping[str, Any]

    @property
    def target(self) -> str:
        """The text to learn: the rationale, ending in the cue and the answer, or the answer alone."""
        rationale = self.rationale.strip()
        if not rationale:
            return self.answer
        tail = rationale.rpartition(CUE)[2] if CUE in rationale else ""
        return rationale if tail.strip() else f"{rationale.removesuffix(CUE).rstrip()} {CUE} {self.answer.strip()}"


def read_skintern_records(entry: DataEntry) -> Iterator[Record]:
    """Yield the records of an entry in their order.

    Raises:
        DataError: a record that cannot be read, or a column of the wrong type, with its place.
    """
    columns = columns_of(entry.entry)
    seen: dict[str, str] = {}
    for index, (place, raw) in enumerate(entry.records()):
        dialogue = entry.dialogue(raw)
        if isinstance(dialogue, str):
            raise DataError(f"{entry.path}, {place}: {dialogue}.")
        question = next((text for role, text in dialogue.turns if role == HUMAN), None)
        answer = next((text for role, text in dialogue.turns if role != HUMAN), None)
        if question is None or answer is None:
            raise DataError(f"{entry.path}, {place}: a record needs a question and an answer.")
        where = f"{entry.path}, {place}"
        _check_text(raw, where)
        if dialogue.tools:
            _check_tools(dialogue.tools, where)
        name = str(raw.get(columns.get("id") or "id") or index)
        if name in seen:
            raise DataError(f"{where}: the id {name!r} stands at {seen[name]} already; give each record its own.")
        seen[name] = place
        yield Record(
            place=place,
            id=name,
            task=_text(raw, columns.get("task"), where),
            question=question,
            answer=answer,
            knowledge=_knowledge(raw, columns.get(KNOWLEDGE) or KNOWLEDGE, where),
            rationale=_text(raw, columns.get(RATIONALE), where),
            tools=dialogue.tools,
            called=frozenset(_called(dialogue.turns)),
            raw=raw,
        )


def _check_text(raw: Any, where: str) -> None:
    try:
        json.dumps(raw, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise DataError(f"{where}: a text holds half a character (a lone surrogate); mend or remove it.") from None


def _check_tools(text: str, where: str) -> None:
    try:
        read_tools(text)
    except DataError as error:
        raise DataError(f"{where}: {error.message}") from None


def _called(turns: tuple[tuple[str, str], ...]) -> Iterator[str]:
    for role, text in turns:
        if role in (CALL, GPT):
            try:
                yield from (found.call.name for found in detect(text))
            except CallParseError:
                continue  # `data check` reports it; here the tool is one that is not called


def _text(raw: Mapping[str, Any], column: str | None, where: str) -> str:
    value = raw.get(column) if column else None
    if not isinstance(value, str | int | None):
        raise DataError(f'{where}: "{column}" is no text.')
    return "" if value is None else str(value)


def _knowledge(raw: Mapping[str, Any], column: str, where: str) -> dict[str, str]:
    value = raw.get(column)
    if isinstance(value, str | None):
        return {"summary": value} if value and value.strip() else {}
    if not isinstance(value, Mapping) or not all(isinstance(text, str | None) for text in value.values()):
        raise DataError(f'{where}: "{column}" is no text and no object of texts.')
    unknown = sorted(set(value) - set(PARTS[:2]))
    if unknown:
        raise DataError(f'{where}: "{column}" has {unknown[0]!r}; its parts are "summary" and "supplement".')
    return {part: text for part in PARTS[:2] if (text := value.get(part)) and text.strip()}
