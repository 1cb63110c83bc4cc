"""Make an ordinary data set of each step: a file, its dataset_info.json, and the hash of all it was made from."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from ..data.dialogues import HUMAN
from ..data.entries import DataEntry
from ..data.files.writing import DATASET_INFO
from ..data.layouts import Tags
from ..data.public.reasoning import CUE
from ..data.shape import columns_of
from ..errors import DataError
from . import compress, compress_model, compress_tools, examples
from .compress import Extractive
from .compress_model import NEEDING_MODEL, Shortened, Shortener, Unranked, mark_of, shortener_of
from .compress_tools import ToolDocuments
from .examples import Examples
from .prompts import ASKED, prefix
from .records import KNOWLEDGE, RATIONALE, Record, read_skintern_records
from .retrieval import Document, Retrieval, digest, documents_of
from .schedule import shots
from .settings import ONE, STEP_BY_STEP, Counts, Settings

_LESS, _LEAST = 0.8, 0.02  # of the knowledge of a prompt that is too long


class Steps:
    """The data of all steps of one entry."""

    def __init__(
        self,
        entry: DataEntry,
        settings: Settings,
        count: Callable[[str], int] | None = None,
        room: int | None = None,
        held_out: float = 0,
        evaluates: bool = False,
        documents: Sequence[Document] | None = None,
    ) -> None:
        """Read the records.

        Args:
            entry: of the training data.
            settings: of the steps.
            count: tokens of a text.
            room: tokens that knowledge, examples, question and answer may take; a prompt that is longer loses
                examples, the least similar first, then knowledge.
            held_out: share, from 1 up number, of the records that are not trained on.
            evaluates: take these, and not the others.
            documents: in which knowledge is searched, where it is; without them the records' own knowledge.

        Raises:
            DataError: records that cannot be read, or knowledge that no record has.
        """
        self.entry, self.settings, self._count, self._room = entry, settings, count, room
        self._held_out = (held_out, evaluates)
        everything = list(read_skintern_records(entry))
        self.records = _part(everything, held_out, evaluates, settings.seed)
        self.documents = documents
        if settings.retrieved and not documents:
            self.documents = documents_of(self.records)
        lacking = [record.place for index, record in enumerate(self.records) if not self._has_knowledge(index)]
        self.counts = Counts(len(self.records), len(lacking), lacking[:3])
        if settings.rows != ONE and not any(record.rationale for record in self.records):
            raise DataError(
                f"{entry.path}: no record has a rationale to train apart from its answer; name its column under "
                f'"columns" in {DATASET_INFO}.'
            )
        if len(lacking) == len(self.records) and not self._shots and any(settings.shares):
            what = "tools" if settings.compressor == "tools" else f'"{KNOWLEDGE}"'
            raise DataError(
                f"{entry.path}: no record has {what} that a step could take away; name the column under "
                f'"columns" in {DATASET_INFO}, or write it into the records.'
            )

    @property
    def _model_mark(self) -> str:
        needed = self.settings.compressor in NEEDING_MODEL
        return mark_of(Path(self.settings.compressor_model)) if needed else ""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the records and of everything that decides what becomes of them."""
        facts = {
            "settings": {**asdict(self.settings), "compressor_model": self._model_mark},
            "versions": [compress.VERSION, compress_tools.VERSION, compress_model.VERSION, examples.VERSION],
            "columns": columns_of(self.entry.entry),
            "room": self._room,
            "held_out": self._held_out,
            "documents": digest(self.documents) if self.settings.retrieved and self.documents else "",
            "records": hashlib.sha256(
                "\n".join(
                    json.dumps(record.raw, sort_keys=True, ensure_ascii=False) for record in self.records
                ).encode()
            ).hexdigest(),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def step(self, step: int) -> Iterator[dict[str, Any]]:
        """Yield the records of a step, in the layout of the entry."""
        for index in range(len(self.records)):
            yield self.at(index, step)

    def rationales(self) -> Iterator[dict[str, Any]]:
        """Yield the rationales as records of their own, where they are trained apart from the answers."""
        for index in range(len(self.records)):
            if (row := self.apart(index)) is not None:
                yield row

    def apart(self, index: int) -> dict[str, Any] | None:
        """Return the rationale of a record as a record of its own; None without one."""
        record = self.records[index]
        return self._written(record, ASKED, None, self.apart_target(index)) if record.rationale else None

    def apart_target(self, index: int) -> str:
        """Return the target of a rationale's own row: with the answer at its end, or up to the cue."""
        target = self.records[index].target
        return target.rpartition(CUE)[0].rstrip() if self.settings.rows == STEP_BY_STEP else target

    def target(self, record: Record) -> str:
        """Return what a record's row is to learn; "" for the answer as it stands."""
        return record.target if record.rationale and self.settings.rationales and self.settings.rows == ONE else ""

    def at(self, index: int, step: int) -> dict[str, Any]:
        """Return one record of a step."""
        record, share = self.records[index], self.share(index, step)
        if self.settings.compressor == "tools":
            tools = self._documents(record, share) if record.tools else ""
            return self._written(record, "", tools, self.target(record))
        front = self._front(
            record, self._ranked(index), share, self._examples.of(index, step, shots(share, self._shots))
        )
        if not front and self.settings.final == "reference" and step == len(self.settings.shares) - 1:
            front = prefix("", (), keeps_heading=True)
        return self._written(record, front, None, self.target(record))

    def _front(self, record: Record, ranked: list[Shortened], share: float, solved: list[Record]) -> str:
        """Return what stands in front of the question, as much of it as fits."""
        while True:
            knowledge = "\n\n".join(filter(None, (one.shortened(share) for one in ranked))).strip()
            front = prefix(knowledge, [(one.question, one.target) for one in solved])
            if not front or self._fits(f"{front}{record.question}\n{record.target}"):
                return front
            self.counts.shortened[record.place] = None
            if solved:
                solved = solved[:-1]
            else:
                share = 0.0 if share < _LEAST else share * _LESS

    def _fits(self, text: str) -> bool:
        if self._room is None or len(text.encode()) <= self._room:  # no tokenizer of bytes makes more tokens
            return True
        return (self._count or _words)(text) <= self._room

    def share(self, index: int, step: int) -> float:
        """Return the share that a record keeps at a step."""
        drawn = random.Random(f"{self.settings.seed}:{self.records[index].id}:keep").random()
        if drawn < self.settings.keep_share:
            return 1.0
        return 0.0 if drawn >= 1 - self.settings.drop_share else self.settings.shares[step]

    @property
    def _shots(self) -> int:
        return self.settings.shots if "examples" in self.settings.parts and self.settings.compressor != "tools" else 0

    @cached_property
    def _examples(self) -> Examples:
        return Examples(self.records, self.settings.examples, self._shots, self.settings.seed)

    @cached_property
    def _shortener(self) -> Shortener:
        if self.settings.compressor in NEEDING_MODEL:
            return shortener_of(self.settings.compressor, Path(self.settings.compressor_model))
        return Extractive.over("\n\n".join(self._texts(index)) for index in range(len(self.records)))

    @cached_property
    def _found(self) -> list[list[str]]:
        return Retrieval(self.documents or ()).find([record.question for record in self.records])

    def _ranked(self, index: int) -> list[Shortened]:
        return [Unranked(text, self._shortener) for text in self._texts(index)]

    def _texts(self, index: int) -> list[str]:
        if self.settings.retrieved:
            return self._found[index]
        return [text for part, text in self.records[index].knowledge.items() if part in self.settings.parts]

    def _has_knowledge(self, index: int) -> bool:
        return bool(self.records[index].tools if self.settings.compressor == "tools" else self._texts(index))

    def _documents(self, record: Record, share: float) -> str:
        left = ToolDocuments(record.tools, record.called, self._count).at([share])[0]
        return json.dumps(left, ensure_ascii=False) if left else ""

    def entry_of(self, file_name: str) -> dict[str, Any]:
        entry = {key: value for key, value in self.entry.entry.items() if key not in ("file_name", "file_sha1")}
        columns = {
            key: value for key, value in columns_of(self.entry.entry).items() if key not in (KNOWLEDGE, RATIONALE)
        }
        return {**entry, "file_name": file_name, "columns": columns}

    def _written(self, record: Record, front: str, tools: str | None, target: str) -> dict[str, Any]:
        """Return the record as the file has it, with another question, answer ("": as it stands) and tools."""
        columns = columns_of(self.entry.entry)
        taken = {columns.get(key) or key for key in (KNOWLEDGE, RATIONALE)}
        raw = {key: value for key, value in record.raw.items() if key not in taken}
        if tools is not None and (column := columns.get("tools")):
            raw[column] = tools
        if not self.entry.shape.messages:
            if target:
                raw[self.entry.shape.response] = target
            return {**raw, **self._alpaca(raw, columns, front)} if front else raw
        raw[self.entry.shape.messages] = self._messages(record, front, target)
        return raw

    def _alpaca(self, raw: Mapping[str, Any], columns: Mapping[str, str], front: str) -> dict[str, Any]:
        history = columns.get("history")
        if history and raw.get(history):
            (question, answer), *later = raw[history]
            return {history: [[front + question, answer], *later]}
        first = next(column for column in self.entry.shape.prompts if raw.get(column))
        return {first: front + raw[first]}

    def _messages(self, record: Record, front: str, target: str) -> list[dict[str, Any]]:
        tags = Tags.of(self.entry.entry)
        messages = [dict(message) for message in record.raw[self.entry.shape.messages]]
        asked = next(message for message in messages if tags.roles.get(str(message.get(tags.role))) == HUMAN)
        if front:
            if not isinstance(asked[tags.content], str):
                raise DataError(f"{self.entry.path}, {record.place}: the question is no plain text.")
            asked[tags.content] = front + asked[tags.content]
        if target:
            answer = next(
                message
                for message in messages[messages.index(asked) :]
                if tags.roles.get(str(message.get(tags.role))) not in (HUMAN, None)
            )
            answer[tags.content] = target
        return messages


def _part(records: list[Record], held_out: float, evaluates: bool, seed: int) -> list[Record]:
    """Return the records to train on, or those held out; the same ones for a seed."""
    if not held_out:
        return records
    count = int(held_out) if held_out >= 1 else math.ceil(held_out * len(records))
    if not 0 < count < len(records):
        raise DataError(f"val_size={held_out} holds out {count} of {len(records)} records; leave some to train on.")
    chosen = set(random.Random(f"{seed}:held out").sample(range(len(records)), count))
    return [record for index, record in enumerate(records) if (index in chosen) is evaluates]


def _words(text: str) -> int:
    return len(compress.words_of(text))
