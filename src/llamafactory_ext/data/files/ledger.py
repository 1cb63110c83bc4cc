"""Counting what happens to a million records in bounded memory: remarks with their places, and repeated texts."""

from __future__ import annotations

import hashlib
import heapq
import json
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import IO, TextIO

_SPOOL_BYTES = 1 << 20
_RUN = 1 << 17  # fingerprints sorted at a time
_BLOCK = 1 << 12  # fingerprints of a run read at a time


@dataclass(frozen=True)
class Note:
    """What is to be said about one source record."""

    file: str
    place: str
    reason: str


class Notes:
    """Notes in the order they came: counted by reason in memory, kept on disk once they are many."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._spool = tempfile.SpooledTemporaryFile(_SPOOL_BYTES, "w+", encoding="utf-8", newline="\n")  # noqa: SIM115

    def add(self, note: Note) -> None:
        """Take one more."""
        self.counts[note.reason] += 1
        self._spool.write(json.dumps(asdict(note)) + "\n")

    def __len__(self) -> int:
        return self.counts.total()

    def __iter__(self) -> Iterator[Note]:
        self._spool.seek(0)
        for line in self._spool:
            yield Note(**json.loads(line))
        self._spool.seek(0, 2)

    def write_json(self, handle: TextIO, indent: str) -> None:
        """Return a JSON list, one note per line."""
        separator = "["
        for note in self:
            handle.write(f"{separator}\n{indent}{json.dumps(asdict(note), ensure_ascii=False)}")
            separator = ","
        handle.write("[]" if separator == "[" else f"\n{indent[:-2]}]")


class Repeats:
    """Counts texts that were seen before: sorted runs of 8-byte fingerprints on disk, merged at the end."""

    def __init__(self) -> None:
        self._fresh = array("Q")
        self._runs: list[tuple[int, int]] = []
        self._disk: IO[bytes] | None = None

    def add(self, text: str) -> None:
        """Take one more text."""
        self._fresh.append(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()))
        if len(self._fresh) >= _RUN:
            self._store()

    def count(self) -> int:
        """Return how many texts equal an earlier one (a wrong count has odds of 10^-7 in a million texts)."""
        repeats, last = 0, None
        for fingerprint in heapq.merge(*(self._read(*run) for run in self._runs), sorted(self._fresh)):
            repeats += fingerprint == last
            last = fingerprint
        return repeats

    def _store(self) -> None:
        if self._disk is None:
            self._disk = tempfile.TemporaryFile()  # noqa: SIM115
        start = self._disk.seek(0, 2)
        array("Q", sorted(self._fresh)).tofile(self._disk)
        self._runs.append((start, len(self._fresh)))
        self._fresh = array("Q")

    def _read(self, start: int, length: int) -> Iterator[int]:
        assert self._disk is not None
        for offset in range(0, length, _BLOCK):
            block = array("Q")
            self._disk.seek(start + offset * block.itemsize)
            block.fromfile(self._disk, min(_BLOCK, length - offset))
            yield from block
