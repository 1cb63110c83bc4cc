"""What a converter is: the files it looks for, the records it reads, and the example it makes of each."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .files.reading import iter_records

SPLITS = ("train", "test")
Columns = dict[str, Any]


@dataclass(frozen=True)
class Layout:
    """How upstream is told to read the records of a file.

    Attributes:
        columns: as in dataset_info.json.
        formatting: upstream's name, or None for its default (alpaca).
    """

    columns: Mapping[str, str]
    formatting: str | None = None

    def entry(self, file_name: str) -> dict[str, Any]:
        """Return the entry of dataset_info.json."""
        formatting = {} if self.formatting is None else {"formatting": self.formatting}
        return {"file_name": file_name, **formatting, "columns": dict(self.columns)}


_MARKS = {"mark": "mark", "task": "task"}
ALPACA = Layout({"prompt": "instruction", "query": "input", "response": "output", **_MARKS})
OPENAI = Layout({"messages": "messages", "tools": "tools", **_MARKS}, "openai")
SHAREGPT = Layout({"messages": "conversations", "system": "system", "tools": "tools", **_MARKS}, "sharegpt")


@dataclass(frozen=True)
class Example:
    """A usable record.

    Attributes:
        columns: what it says by LLaMA-Factory's column names, and `reference` where a scorer needs the published gold.
        key: the record's own key within its file; its number serves where it has none.
        findings: published defects that the example carries on, in words.
        mark, task: its own where they are not its family's, as in a data set that holds both kinds.
        prefix: begins the id, where files of one name hold different parts of a benchmark.
    """

    columns: Columns
    key: str = ""
    findings: tuple[str, ...] = ()
    mark: str = ""
    task: str = ""
    prefix: str = ""


@dataclass(frozen=True)
class Drop:
    """A record of this data set that makes no example."""

    reason: str


@dataclass(frozen=True)
class Foreign:
    """No record of this data set; `fault` goes on after "the record"."""

    fault: str


Outcome = Example | Drop | Foreign


@dataclass(frozen=True)
class Chosen:
    """Files of a folder that make up one split, and those left out, each with its reason."""

    files: tuple[Path, ...]
    left_out: tuple[tuple[Path, str], ...] = ()


@dataclass(frozen=True)
class Family:
    """The converter of one public data set.

    Attributes:
        about: what it reads, in a few words, for help texts.
        mark, task: what its examples carry, unless they name their own.
        layout: the shape of its examples.
        choose: folder and split -> files.
        split_of: file name -> "train" or "test" where the name tells, else None.
        read: one record -> what becomes of it.
        records: file -> (place, record), one at a time.
    """

    name: str
    about: str
    mark: str
    task: str
    layout: Layout
    choose: Callable[[Path, str], Chosen]
    split_of: Callable[[str], str | None]
    read: Callable[[Any], Outcome]
    records: Callable[[Path], Iterator[tuple[str, Any]]] = iter_records


def by_patterns(**patterns: Sequence[str]) -> Callable[[Path, str], Chosen]:
    """Return a `choose` that takes, of each split's file name patterns, the first that any file matches."""

    def choose(folder: Path, split: str) -> Chosen:
        names = sorted(path.name for path in folder.iterdir() if path.is_file())
        for pattern in patterns.get(split, ()):
            found = fnmatch.filter(names, pattern)
            if found:
                return Chosen(tuple(folder / name for name in found))
        return Chosen(())

    return choose


def split_by_name(file_name: str) -> str | None:
    """Return the split that a file's name speaks of."""
    words = set(re.split(r"[^a-z]+", file_name.lower()))
    if words & {"test", "dev", "valid", "validation", "eval"}:
        return "test"
    return "train" if "train" in words else None


def always(split: str) -> Callable[[str], str | None]:
    """Return a `split_of` for data sets that were published for one purpose only."""
    return lambda _: split
