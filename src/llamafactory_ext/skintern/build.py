"""Make an ordinary data set of each step: a file, its dataset_info.json, and the hash of all it was made from."""

from __future__ import annotations

import hashlib
import json
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
    seed: int = 42


@dataclass
class Counts:
    """What was built: records, and those that lack what the step would take away."""

    records: int = 0
    without_knowledge: int = 0
    places: list[str] = field(default_factory=list)


class Steps:
    """The data of all steps of one entry."""

    def __init__(self, entry: DataEntry, settings: Settings, count: Callable[[str], int] | None = None) -> None:
        """Read the records.

        Args:
            entry: of the training data.
            settings: of the steps.
            count: tokens of a text, for the compressor `tools`.

        Raises:
            DataError: records that cannot be read, or knowledge that no record has.
        """
        self.entry, self.settings, self._count = entry, settings, count
        self.records = list(read_skintern_records(entry))
        lacking = [record.place for record in self.records if not self._has_knowledge(record)]
        self.counts = Counts(len(self.records), len(lacking), lacking[:3])
        if len(lacking) == len(self.records) and not self._shots:
            what = "tools" if settings.compressor == "tools" else f'"{KNOWLEDGE}"'
            raise DataError(
                f"{entry.path}: no record has {what} that a step could take away; name the column under "
                f'"columns" in {DATASET_INFO}, or write it with: llamafactory-ext skintern collect.'
            )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the records and of everything that decides what becomes of them."""
        facts = {
            "settings": asdict(self.settings),
            "versions": [compress.VERSION, compress_tools.VERSION, examples.VERSION],
            "columns": columns_of(self.entry.entry),
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
        knowledge = "\n\n".join(ranked.shortened(share) for ranked in self._ranked(index)).strip()
        solved = self._examples.of(index, step, shots(share, self._shots))
        heading = self.settings.final == "reference" and step == len(self.settings.shares) - 1
        front = prefix(knowledge, [(one.question, one.target) for one in solved], keeps_heading=heading)
        return self._written(record, front, None)

    def share(self, index: int, step: int) -> float:
        """Return the share that a record keeps at a step."""
        drawn = random.Random(f"{self.settings.seed}:{self.records[index].id}:keep").random()
        if drawn < self.settings.keep_share:
            return 1.0
        return 0.0 if drawn >= 1 - self.settings.drop_share else self.settings.shares[step]

    def files(self, step: int, name: str) -> dict[str, str]:
        """Return the files of a step's data set by name: the records, dataset_info.json, and the mark of its hash."""
        records = "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in self.step(step))
        mark = {"sha256": self.digest, "step": step + 1, "share": self.settings.shares[step]}
        return {
            f"{name}.jsonl": records,
            DATASET_INFO: as_json({name: self._entry(f"{name}.jsonl")}),
            SOURCE: as_json(mark),
        }

    def write(self, step: int, folder: Path, name: str) -> Path:
        """Write a step's data set as one whole folder, unless it is there already.

        Raises:
            DataError: the folder holds something else.
        """
        files = self.files(step, name)
        if not folder.exists():
            with staged_folder(folder) as staged:
                for file, text in files.items():
                    write_text(staged / file, text)
                publish_folder(staged, folder)
        elif not (folder / SOURCE).is_file() or (folder / SOURCE).read_text("utf-8") != files[SOURCE]:
            raise DataError(
                f"{folder} was built from other records or settings; start with overwrite_output_dir, or name "
                "another folder."
            )
        return folder

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

    def _entry(self, file_name: str) -> dict[str, Any]:
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
            if record.rationale:
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
        if record.rationale:
            answer = next(
                message
                for message in messages[messages.index(asked) :]
                if tags.roles.get(str(message.get(tags.role))) not in (HUMAN, None)
            )
            answer[tags.content] = record.target
        return messages


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
    for option, number in (("skintern_shots", settings.shots), ("seed", settings.seed)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:
            problems.append(f"{option}={number!r}: give a whole number of at least 0")
    share = settings.keep_share
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1 - settings.drop_share:
        problems.append(f"skintern_keep_share={share!r}: give a share from 0 to 1")
    if problems:
        raise OptionError.listing("SKIntern's options do not fit:", problems)
