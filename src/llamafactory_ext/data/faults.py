"""What is wrong with the records of a file: equal faults of many records in one line, with the first places."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

_SHOWN_PLACES = 3


class Faults:
    """Gathers faults; memory grows with the kinds of faults only, and those are capped."""

    def __init__(self, path: Path, max_kinds: int) -> None:
        self._path = path
        self._max_kinds = max_kinds
        self._places: dict[str, list[str]] = {}
        self._counts: Counter[str] = Counter()
        self._more_kinds = 0

    def add(self, place: str, fault: str) -> None:
        """Take one fault of the record at `place`."""
        if fault not in self._places:
            if len(self._places) == self._max_kinds:
                self._more_kinds += 1
                return
            self._places[fault] = []
        self._counts[fault] += 1
        if self._counts[fault] <= _SHOWN_PLACES:
            self._places[fault].append(place)

    def __len__(self) -> int:
        return self._counts.total() + self._more_kinds

    def lines(self) -> list[str]:
        """Return one line for each kind, in the order of first appearance."""
        lines = []
        for fault, places in self._places.items():
            more = f" and {self._counts[fault] - len(places):,} more" if self._counts[fault] > len(places) else ""
            lines.append(f"{self._path}, {', '.join(places)}{more}: {fault}")
        if self._more_kinds:
            lines.append(f"{self._path}: {self._more_kinds:,} more faults of other kinds")
        return lines
