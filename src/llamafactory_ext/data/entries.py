"""The records of one entry of dataset_info.json, read as upstream reads them: as a dialogue, whatever their layout."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llamafactory_ext.errors import DataError

from .dialogues import CALL, GPT, HUMAN, OBSERVATION, SYSTEM
from .family import ALPACA, SHAREGPT
from .files.reading import iter_records
from .files.writing import DATASET_INFO, read_dataset_info
from .marks_spec import MarkSpec
from .shape import Shape

_ROLE_TAGS = {
    "user_tag": HUMAN,
    "assistant_tag": GPT,
    "observation_tag": OBSERVATION,
    "function_tag": CALL,
    "system_tag": SYSTEM,
}
_KNOWN = ("alpaca", "sharegpt")
_REMOTE = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")


@dataclass(frozen=True)
class Dialogue:
    """A record as upstream sees it.

    Attributes:
        turns: (role, text) by upstream's default role names, without the system turn; a role of no such name stays.
        tools: JSON text, "" for none.
    """

    turns: tuple[tuple[str, str], ...]
    system: str = ""
    tools: str = ""


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
        if formatting not in _KNOWN:
            raise DataError(f'{name}: its "formatting" is {formatting!r}; only alpaca and sharegpt are read here.')
        shape = Shape.of(entry)
        if shape.problems:
            raise DataError("\n".join(f"{name}: {problem}." for problem in shape.problems))
        return cls(name, path, entry, shape, MarkSpec.from_entry(name, entry))

    @classmethod
    def named(cls, name: str, folder: Path) -> DataEntry:
        """The entry `name` of `folder`/dataset_info.json.

        Raises:
            DataError: no such entry, none with a file of its own, or the file is not there.
        """
        info = read_dataset_info(folder)
        if name not in info:
            close = difflib.get_close_matches(name, info, n=3)
            hint = (
                f"did you mean {' or '.join(close)}?" if close else f"it knows: {', '.join(sorted(info)) or 'none'}."
            )
            raise DataError(f'no data set "{name}" is in {folder / DATASET_INFO}; {hint}')
        entry = info[name]
        file_name = entry.get("file_name")
        if any(key in entry for key in _REMOTE) or not isinstance(file_name, str):
            raise DataError(f'{folder / DATASET_INFO}, entry "{name}": it names no local file; name a file.')
        if not (folder / file_name).exists():
            raise DataError(
                f"{folder / file_name} does not exist; make it with: llamafactory-ext data convert NAME --source ... "
                f'--out {folder}, or correct "file_name" of "{name}" in {folder / DATASET_INFO}.'
            )
        return cls.of(name, entry, folder / file_name)

    @classmethod
    def found(cls, what: str, folder: Path) -> DataEntry:
        """A file, or the entry of that name in `folder`/dataset_info.json.

        Raises:
            DataError: neither is there.
        """
        path = Path(what)
        if path.is_file():
            return cls.of_file(path)
        if path.suffix or "/" in what:
            raise DataError(
                f"{what} {'is a folder; name a file in it' if path.is_dir() else 'does not exist; check the path'}."
            )
        return cls.named(what, folder)

    @classmethod
    def of_file(cls, path: Path) -> DataEntry:
        """A file by itself: by the entry beside it that names it, else by the keys of its first record."""
        for name, entry in read_dataset_info(path.parent).items():
            if entry.get("file_name") == path.name:
                return cls.of(name, entry, path)
        _, first = next(iter_records(path))
        layout = SHAREGPT if isinstance(first, Mapping) and SHAREGPT.columns["messages"] in first else ALPACA
        columns = {
            key: column
            for key, column in layout.columns.items()
            if key not in ("mark", "task", "system", "tools") or (isinstance(first, Mapping) and column in first)
        }
        return cls.of(path.name, {**layout.entry(path.name), "columns": columns}, path)

    @property
    def has_dialogues(self) -> bool:
        """Whether its records hold more than one text for the question and one for the answer."""
        columns = self.entry.get("columns", {})
        return bool(self.shape.messages or columns.get("system") or columns.get("tools") or columns.get("history"))

    def records(self) -> Iterator[tuple[str, Any]]:
        """(place, record), one at a time."""
        return iter_records(self.path)

    def dialogue(self, record: Any) -> Dialogue | str:
        """What upstream makes of a record, or in words why it can make nothing of it."""
        fault = self.shape.fault(record)
        if fault is not None:
            return fault
        columns = self.entry.get("columns", {})
        extra = {}
        for key in ("system", "tools"):
            value = record.get(columns.get(key)) if columns.get(key) else None
            if not isinstance(value, str | None):
                return f'"{columns[key]}" is no text; write one (tools: their list as JSON text)'
            extra[key] = value or ""
        if not self.shape.messages:
            prompt = "\n".join(record[column] for column in self.shape.prompts if record[column])
            earlier = _earlier_turns(record.get(columns.get("history")) if columns.get("history") else None)
            if earlier is None:
                return f'"{columns["history"]}" is no list of pairs of texts, question and answer'
            return Dialogue((*earlier, (HUMAN, prompt), (GPT, record[self.shape.response])), **extra)
        return self._turns(record[self.shape.messages], extra)

    def _turns(self, messages: list[Mapping[str, Any]], extra: dict[str, str]) -> Dialogue | str:
        tags = self.entry.get("tags")
        role_tag, text_tag = ("from", "value") if tags is None else (tags.get("role_tag"), tags.get("content_tag"))
        roles = {role if tags is None else tags.get(tag): role for tag, role in _ROLE_TAGS.items()}
        turns = []
        for message in messages:
            role, text = message.get(role_tag), message.get(text_tag)
            if not isinstance(text, str):
                return f'a message holds a "{text_tag}" that is no text'
            turns.append((roles.get(role, str(role)), text))
        if turns[0][0] == SYSTEM:
            extra["system"] = turns.pop(0)[1]
        return Dialogue(tuple(turns), **extra)


def _earlier_turns(history: Any) -> tuple[tuple[str, str], ...] | None:
    """The turns before the prompt, as an alpaca record's history gives them; None for anything else."""
    if not isinstance(history, list):
        return ()
    if not all(
        isinstance(pair, list) and [isinstance(text, str) for text in pair] == [True, True] for pair in history
    ):
        return None
    return tuple(turn for asked, answered in history for turn in ((HUMAN, asked), (GPT, answered)))
