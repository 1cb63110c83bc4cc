"""What keeps upstream's own loader, which reads JSON into typed columns, from reading a file that we read."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ...methods import listed, names

_MOST_PLACES = 2000  # distinct places of values that are looked at
BOM = (
    f"it begins with a byte order mark: {listed(names())} read it, other methods of LLaMA-Factory do not; for "
    "those, save it as UTF-8 without one"
)


class ColumnTypes:
    """Gathers the kinds of values in columns that nothing reads, and in the members below them.

    Args:
        known: columns that are read; their faults are told elsewhere.
    """

    def __init__(self, known: Collection[str]) -> None:
        self._known = known
        self._kinds: dict[str, set[str]] = {}

    def add(self, record: Any) -> None:
        """Look at one record."""
        if isinstance(record, Mapping):
            self._members({name: value for name, value in record.items() if name not in self._known}, "")

    def remarks(self) -> list[str]:
        """Return one sentence for each place with two kinds."""
        return [
            f'"{place}" holds {" and ".join(sorted(kinds))}: {listed(names())} read it, other methods of '
            "LLaMA-Factory end in ArrowInvalid; write one type for those"
            for place, kinds in self._kinds.items()
            if len(kinds) > 1
        ]

    def _members(self, value: Mapping[str, Any], place: str) -> None:
        for name, item in value.items():
            self._look(item, f"{place}.{name}" if place else str(name))

    def _look(self, value: Any, place: str) -> None:
        kind = _kind(value)
        if kind is None or (place not in self._kinds and len(self._kinds) == _MOST_PLACES):
            return
        self._kinds.setdefault(place, set()).add(kind)
        if isinstance(value, Mapping):
            self._members(value, place)
        elif isinstance(value, list):
            for item in value:
                self._look(item, f"{place}[]")


def _kind(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "numbers"
    kinds: dict[type, str] = {str: "texts", list: "lists", dict: "objects"}
    return kinds.get(type(value))


def has_bom(path: Path) -> bool:
    """Tell whether a JSON file begins with a byte order mark."""
    if path.suffix != ".json":
        return False
    with path.open("rb") as handle:
        return handle.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8
