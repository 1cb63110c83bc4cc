"""The records of one entry of dataset_info.json, read as upstream reads them: as a dialogue, whatever their layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llamafactory_ext.errors import DataError
from llamafactory_ext.paths import exists, is_file

from .dialogues import GPT, HUMAN, turn
from .entry_types import REMOTE, entry_faults
from .family import ALPACA, OPENAI, SHAREGPT, Layout
from .files.reading import iter_records
from .files.writing import DATASET_INFO, existing_dataset_info, near_names, read_dataset_info
from .layout_marks import LOSS_MASK, Marks, unknown_marks
from .layouts import Dialogue, Tags, read_dialogue, tools_text
from .marks_spec import MarkSpec
from .message_parts import DEFAULT_WORDS, UnreadableError, Words
from .shape import HALF_CHARACTER, Shape, columns_of, is_whole

__all__ = ["FORMATTINGS", "DataEntry", "Dialogue", "layout_of"]

FORMATTINGS = ("alpaca", "sharegpt", "openai")
_ALPACA_TAGS = Tags.of({})


@dataclass(frozen=True)
class DataEntry:
    """One entry and the file that it names."""

    name: str
    path: Path
    entry: Mapping[str, Any]
    shape: Shape
    marks: MarkSpec

    @classmethod
    def of(cls, name: str, entry: Mapping[str, Any], path: Path) -> DataEntry:
        """Check the entry.

        Raises:
            DataError: a layout or an entry that cannot be read, with every reason.
        """
        formatting = entry.get("formatting", "alpaca")
        if formatting not in FORMATTINGS:
            raise DataError(
                f'{name}: its "formatting" is {formatting!r}; only alpaca, sharegpt and openai are read here.'
            )
        shape = Shape.of(entry)
        if shape.problems:
            raise DataError("\n".join(f"{name}: {problem}." for problem in shape.problems))
        return cls(name, path, entry, shape, MarkSpec.from_entry(name, entry))

    @classmethod
    def named(cls, name: str, folder: Path) -> DataEntry:
        """Return the entry `name` of `folder`/dataset_info.json.

        Raises:
            DataError: no such entry, none with a file of its own, or the file is not there.
        """
        info = existing_dataset_info(folder)
        if name not in info:
            raise DataError(f'no data set "{name}" is in {folder / DATASET_INFO}; {near_names(name, info)}')
        entry = info[name]
        if faults := entry_faults(entry, folder):
            raise DataError("\n".join(f'{folder / DATASET_INFO}, entry "{name}": {fault}.' for fault in faults))
        file_name = entry.get("file_name")
        if any(key in entry for key in REMOTE) or not isinstance(file_name, str):
            raise DataError(f'{folder / DATASET_INFO}, entry "{name}": it names no local file; name a file.')
        if not exists(folder / file_name):
            raise DataError(
                f"{folder / file_name} does not exist; make it with: llamafactory-ext data convert NAME --source ... "
                f'--out {folder}, or correct "file_name" of "{name}" in {folder / DATASET_INFO}.'
            )
        return cls.of(name, entry, folder / file_name)

    @classmethod
    def found(cls, what: str, folder: Path) -> DataEntry:
        """Return a file, or the entry of that name in `folder`/dataset_info.json.

        Raises:
            DataError: neither is there.
        """
        path = Path(what)
        if is_file(path):
            return cls.of_file(path)
        if path.suffix or "/" in what:
            raise DataError(
                f"{what} {'is a folder; name a file in it' if exists(path) else 'does not exist; check the path'}."
            )
        return cls.named(what, folder)

    @classmethod
    def of_file(cls, path: Path) -> DataEntry:
        """Return a file by itself: by the entry beside it that names it, else by the keys of its first record."""
        for name, entry in read_dataset_info(path.parent).items():
            if entry.get("file_name") == path.name:
                return cls.of(name, entry, path)
        _, first = next(iter_records(path))
        layout = layout_of(first)
        # Tools and system texts may come with any record; a mark is asked of all once one has it.
        columns = {
            key: column
            for key, column in layout.columns.items()
            if key not in ("mark", "task") or (isinstance(first, Mapping) and column in first)
        }
        return cls.of(path.name, {**layout.entry(path.name), "columns": columns}, path)

    @property
    def has_dialogues(self) -> bool:
        """Whether its records hold more than one text for the question and one for the answer."""
        columns = columns_of(self.entry)
        return bool(self.shape.messages or columns.get("system") or columns.get("tools") or columns.get("history"))

    def records(self) -> Iterator[tuple[str, Any]]:
        """Return (place, record), one at a time."""
        return iter_records(self.path)

    def dialogue(self, record: Any, words: Words = DEFAULT_WORDS) -> Dialogue | str:
        """Return what is trained of a record, or in words why nothing can be made of it.

        The only way from a record to turns: training's converter, checks, previews, statistics, mixtures and
        questions all come here.

        Args:
            record: as the file has it.
            words: how the run's template marks a thought and calls.
        """
        fault = self.shape.fault(record)
        if fault is not None:
            return fault
        try:
            found = self._dialogue(record, words)
        except UnreadableError as error:
            return str(error)
        return found if is_whole(found.system, found.tools, *(text for _, text in found.turns)) else HALF_CHARACTER

    def _dialogue(self, record: Mapping[str, Any], words: Words) -> Dialogue:
        columns = columns_of(self.entry)
        system = record.get(columns["system"]) if columns.get("system") else None
        if not isinstance(system, str | None):
            raise UnreadableError(f'"{columns["system"]}" is no text; write one (tools: their list as JSON text)')
        tools = tools_text(record, columns.get("tools"), openai=self._is_openai)
        marks = Marks(record.get(columns.get(LOSS_MASK) or LOSS_MASK))
        if self.shape.messages:
            read = read_dialogue(record[self.shape.messages], Tags.of(self.entry), marks, words)
        else:
            read = read_dialogue(self._as_messages(record), _ALPACA_TAGS, marks, words)
        lost = read.lost
        if read.system and system and system != read.system:
            lost = ((0, f'"{columns["system"]}" is not kept, as the messages begin with a system text'), *lost)
        known = {LOSS_MASK, *(column for column in columns.values() if isinstance(column, str))}
        lost = (*((0, what) for what in unknown_marks(record, known)), *lost)
        return replace(read, system=read.system or system or "", tools=tools, lost=lost)

    @property
    def _is_openai(self) -> bool:
        return self.entry.get("formatting") == "openai"

    def _as_messages(self, record: Mapping[str, Any]) -> list[dict[str, str]]:
        """Return the turns of an alpaca record."""
        column = columns_of(self.entry).get("history") or ""
        earlier = _earlier_turns(record.get(column) if column else None)
        if earlier is None:
            raise UnreadableError(f'"{column}" is no list of pairs of texts, question and answer')
        prompt = "\n".join(record[column] for column in self.shape.prompts if record[column])
        return [turn(role, text) for role, text in (*earlier, (HUMAN, prompt), (GPT, record[self.shape.response]))]


def layout_of(record: Any) -> Layout:
    """Return the layout that a record's keys speak of."""
    if not isinstance(record, Mapping):
        return ALPACA
    for column in ("messages", SHAREGPT.columns["messages"]):
        messages = record.get(column)
        if not isinstance(messages, list):
            continue
        first = messages[0] if messages and isinstance(messages[0], Mapping) else {}
        kind = OPENAI if "role" in first or (column == "messages" and "from" not in first) else SHAREGPT
        return Layout({**kind.columns, "messages": column}, kind.formatting)
    return SHAREGPT if SHAREGPT.columns["messages"] in record else ALPACA


def _earlier_turns(history: Any) -> tuple[tuple[str, str], ...] | None:
    """Return the turns before the prompt, as an alpaca record's history gives them; None for anything else."""
    if not isinstance(history, list):
        return ()
    if not all(
        isinstance(pair, list) and [isinstance(text, str) for text in pair] == [True, True] for pair in history
    ):
        return None
    return tuple(turn for asked, answered in history for turn in ((HUMAN, asked), (GPT, answered)))
