"""What a converter is: the fields it reads, the files it looks for, and the example it makes of a record."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPLITS = ("train", "test")
Fields = Mapping[str, str]


@dataclass(frozen=True)
class Field:
    """One text of a source record: the first of `paths` that exists ("answer.0" descends into objects and lists)."""

    name: str
    paths: tuple[str, ...]
    optional: bool = False


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
        mark, task: what every example of it carries.
        fields: what a record must hold.
        build: texts by field name -> (instruction, input, output).
        choose: folder and split -> files.
        split_of: file name -> "train" or "test" where the name tells, else None.
        refuse: texts -> why this is not a record of this data set, or None.
        identify: file and record -> its id where the data set has its own, or None (then file and index serve).
        list_key: the key of the list of records, where the file is one object.
    """

    name: str
    about: str
    mark: str
    task: str
    fields: tuple[Field, ...]
    build: Callable[[Fields], tuple[str, str, str]]
    choose: Callable[[Path, str], Chosen]
    split_of: Callable[[str], str | None]
    refuse: Callable[[Fields], str | None] = lambda _: None
    identify: Callable[[Path, Mapping[str, Any]], str | None] = lambda _file, _record: None
    list_key: str | None = None

    def read(self, record: Any) -> dict[str, str] | str:
        """The texts of a source record by field name, or in words what is wrong with it."""
        if not isinstance(record, Mapping):
            return f"is no JSON object but {type(record).__name__}"
        texts = {}
        for field in self.fields:
            text = next((value for path in field.paths if (value := _descend(record, path)) is not None), None)
            if text is None and field.optional:
                text = ""
            if text is None:
                return f'has no "{field.paths[0]}"'
            if not isinstance(text, str):
                return f'holds a "{field.paths[0]}" that is no text but {type(text).__name__}'
            texts[field.name] = text
        return self.refuse(texts) or texts


def by_patterns(**patterns: Sequence[str]) -> Callable[[Path, str], Chosen]:
    """A `choose` that takes, of each split's file name patterns, the first that any file matches."""

    def choose(folder: Path, split: str) -> Chosen:
        names = sorted(path.name for path in folder.iterdir() if path.is_file())
        for pattern in patterns.get(split, ()):
            found = fnmatch.filter(names, pattern)
            if found:
                return Chosen(tuple(folder / name for name in found))
        return Chosen(())

    return choose


def split_by_name(file_name: str) -> str | None:
    """The split that a file's name speaks of."""
    words = set(re.split(r"[^a-z]+", file_name.lower()))
    if words & {"test", "dev", "valid", "validation", "eval"}:
        return "test"
    return "train" if "train" in words else None


def _descend(value: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit():
            value = value[int(part)] if int(part) < len(value) else None
        else:
            return None
    return value
