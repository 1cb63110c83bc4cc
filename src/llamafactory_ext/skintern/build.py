"""Make an ordinary data set of each step: a file, its dataset_info.json, and the hash of all it was made from."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from ..checkpoint.atomic import publish_folder, staged_folder, write_text
from ..checkpoint.own import as_json
from ..data.dialogues import HUMAN
from ..data.entries import DataEntry
from ..data.files.writing import DATASET_INFO
from ..data.layouts import Tags
from ..data.shape import columns_of
from ..errors import DataError, OptionError
from . import compress, compress_tools, examples
from .compress import Extractive
from .compress_tools import ToolDocuments
from .examples import Examples
from .prompts import FINALS, prefix
from .records import KNOWLEDGE, PARTS, RATIONALE, Record, read_skintern_records
from .schedule import shots

SOURCE: Final = "SOURCE.json"
_LESS, _LEAST = 0.8, 0.02  # of the knowledge of a prompt that is too long
COMPRESSORS: Final = ("extractive", "tools")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the data of the steps.

    Attributes:
        shares: S_t of each step, 1 first and 0 last.
        shots: K, examples of the first step.
        examples: how they are chosen, one of `examples.CHOICES`.
        parts: of the knowledge that are used, of `records.PARTS`.
        compressor: one of `COMPRESSORS`.
        final: "question", or "reference" for the published code's last prompt.
        keep_share: share of the records that keep S = 1 in every step.
        drop_share: share of the records that are without knowledge in every step.
        rationales: whether targets are rationales, where records have them, or the answers alone.
        seed: of all draws.
    """

    shares: tuple[float, ...]
    shots: int = 6
    examples: str = "similar"
    parts: tuple[str, ...] = PARTS
    compressor: str = "extractive"
    final: str = "question"
    keep_share: float = 0.0
    drop_share: float = 0.0
    rationales: bool = True
    seed: int = 42


@dataclass
class Counts:
    """What was built.

    Attributes:
        records: all of them.
        without_knowledge: those that lack what the steps would take away, and the places of the first.
        shortened: records whose prompts lose more than the step takes, to fit, with their places.
    """

    records: int = 0
    without_knowledge: int = 0
    places: list[str] = field(default_factory=list)
    shortened: dict[str, None] = field(default_factory=dict)


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

        Raises:
            DataError: records that cannot be read, or knowledge that no record has.
        """
        self.entry, self.settings, self._count, self._room = entry, settings, count, room
        self._held_out = (held_out, evaluates)
        self.records = _part(list(read_skintern_records(entry)), held_out, evaluates, settings.seed)
        lacking = [record.place for record in self.records if not self._has_knowledge(record)]
        self.counts = Counts(len(self.records), len(lacking), lacking[:3])
        if len(lacking) == len(self.records) and not self._shots and any(settings.shares):
            what = "tools" if settings.compressor == "tools" else f'"{KNOWLEDGE}"'
            raise DataError(
                f"{entry.path}: no record has {what} that a step could take away; name the column under "
                f'"columns" in {DATASET_INFO}, or write it into the records.'
            )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the records and of everything that decides what becomes of them."""
        facts = {
            "settings": asdict(self.settings),
            "versions": [compress.VERSION, compress_tools.VERSION, examples.VERSION],
            "columns": columns_of(self.entry.entry),
            "room": self._room,
            "held_out": self._held_out,
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

    def at(self, index: int, step: int) -> dict[str, Any]:
        """Return one record of a step."""
        record, share = self.records[index], self.share(index, step)
        if self.settings.compressor == "tools":
            tools = self._documents(record, share) if record.tools else ""
            return self._written(record, "", tools)
        front = self._front(
            record, self._ranked(index), share, self._examples.of(index, step, shots(share, self._shots))
        )
        if not front and self.settings.final == "reference" and step == len(self.settings.shares) - 1:
            front = prefix("", (), keeps_heading=True)
        return self._written(record, front, None)

    def _front(self, record: Record, ranked: list[compress.Ranked], share: float, solved: list[Record]) -> str:
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
    def _extractive(self) -> Extractive:
        return Extractive.over("\n\n".join(self._texts(record)) for record in self.records)

    def _ranked(self, index: int) -> list[compress.Ranked]:
        return [self._extractive.rank(text) for text in self._texts(self.records[index])]

    def _texts(self, record: Record) -> list[str]:
        return [text for part, text in record.knowledge.items() if part in self.settings.parts]

    def _has_knowledge(self, record: Record) -> bool:
        return bool(record.tools if self.settings.compressor == "tools" else self._texts(record))

    def _documents(self, record: Record, share: float) -> str:
        left = ToolDocuments(record.tools, record.called, self._count).at([share])[0]
        return json.dumps(left, ensure_ascii=False) if left else ""

    def entry_of(self, file_name: str) -> dict[str, Any]:
        entry = {key: value for key, value in self.entry.entry.items() if key not in ("file_name", "file_sha1")}
        columns = {
            key: value for key, value in columns_of(self.entry.entry).items() if key not in (KNOWLEDGE, RATIONALE)
        }
        return {**entry, "file_name": file_name, "columns": columns}

    def _written(self, record: Record, front: str, tools: str | None) -> dict[str, Any]:
        """Return the record as the file has it, with another question, answer and tools."""
        columns = columns_of(self.entry.entry)
        taken = {columns.get(key) or key for key in (KNOWLEDGE, RATIONALE)}
        raw = {key: value for key, value in record.raw.items() if key not in taken}
        if tools is not None and (column := columns.get("tools")):
            raw[column] = tools
        if not self.entry.shape.messages:
            if record.rationale and self.settings.rationales:
                raw[self.entry.shape.response] = record.target
            return {**raw, **self._alpaca(raw, columns, front)} if front else raw
        raw[self.entry.shape.messages] = self._messages(record, front)
        return raw

    def _alpaca(self, raw: Mapping[str, Any], columns: Mapping[str, str], front: str) -> dict[str, Any]:
        history = columns.get("history")
        if history and raw.get(history):
            (question, answer), *later = raw[history]
            return {history: [[front + question, answer], *later]}
        first = next(column for column in self.entry.shape.prompts if raw.get(column))
        return {first: front + raw[first]}

    def _messages(self, record: Record, front: str) -> list[dict[str, Any]]:
        tags = Tags.of(self.entry.entry)
        messages = [dict(message) for message in record.raw[self.entry.shape.messages]]
        asked = next(message for message in messages if tags.roles.get(str(message.get(tags.role))) == HUMAN)
        if front:
            if not isinstance(asked[tags.content], str):
                raise DataError(f"{self.entry.path}, {record.place}: the question is no plain text.")
            asked[tags.content] = front + asked[tags.content]
        if record.rationale and self.settings.rationales:
            answer = next(
                message
                for message in messages[messages.index(asked) :]
                if tags.roles.get(str(message.get(tags.role))) not in (HUMAN, None)
            )
            answer[tags.content] = record.target
        return messages


def step_files(sets: Mapping[str, Steps], step: int) -> dict[str, str]:
    """Return the files of one step by name: records of each data set, dataset_info.json, and the hashes they are of.

    Args:
        sets: the data sets by their names in dataset_info.json.
        step: index of the step.
    """
    files, info, marks = {}, {}, {}
    for number, (name, steps) in enumerate(sets.items(), 1):
        file = f"{number}.jsonl" if len(sets) > 1 else "records.jsonl"
        at = min(step, len(steps.settings.shares) - 1)
        files[file] = "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in steps.step(at))
        info[name] = steps.entry_of(file)
        marks[name] = {"sha256": steps.digest, "step": at + 1, "share": steps.settings.shares[at]}
    return {**files, DATASET_INFO: as_json(info), SOURCE: as_json(marks)}


def write_step(sets: Mapping[str, Steps], step: int, folder: Path) -> None:
    """Write the data of a step as one whole folder, unless it is there already.

    Raises:
        DataError: the folder holds a step of other records or settings.
    """
    files = step_files(sets, step)
    if not folder.exists():
        with staged_folder(folder) as staged:
            for file, text in files.items():
                write_text(staged / file, text)
            publish_folder(staged, folder)
    elif not (folder / SOURCE).is_file() or (folder / SOURCE).read_text("utf-8") != files[SOURCE]:
        raise DataError(
            f"{folder} was built from other records or settings; put the old ones back, or start with "
            "overwrite_output_dir: true, or name another output_dir."
        )


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


def check_settings(settings: Settings) -> None:
    """Check what the types do not say.

    Raises:
        OptionError: an unknown name or a share outside of 0 to 1, all of them at once.
    """
    problems = [
        f"{option}={value!r}: choose one of {', '.join(choices)}"
        for option, value, choices in (
            ("skintern_compressor", settings.compressor, COMPRESSORS),
            ("skintern_examples", settings.examples, examples.CHOICES),
            ("skintern_final", settings.final, FINALS),
        )
        if value not in choices
    ]
    if unknown := [part for part in settings.parts if part not in PARTS]:
        problems.append(f"skintern_parts: {unknown[0]!r} is none of {', '.join(PARTS)}")
    if not settings.parts:
        problems.append(f"skintern_parts is empty; name some of {', '.join(PARTS)}")
    for option, number in (("skintern_shots", settings.shots), ("seed", settings.seed)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            problems.append(f"{option}={number!r}: give a whole number of at least 0")
    share = settings.keep_share
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1 - settings.drop_share:
        problems.append(f"skintern_keep_share={share!r}: give a share from 0 to 1")
    if problems:
        raise OptionError.listing("SKIntern's options do not fit:", problems)
