"""Verdicts that are kept as they fall, so that an interrupted scoring goes on where it stopped."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from ..checkpoint.locks import lock
from ..checkpoint.own import refuse_special
from ..errors import DataError
from .report import Verdict, verdict_of


class KeptVerdicts:
    """One file: what the verdicts are about, then one verdict per line.

    Args:
        path: of the file; it goes when the report is written.
        identity: of the predictions, the references and the mode. A file about anything else is begun anew.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self._path = path
        self._first = json.dumps({"verdicts of an unfinished scoring": identity}) + "\n"
        self._known: dict[str, Verdict] = {}
        refuse_special(path)
        try:
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        except FileNotFoundError:
            lines = []
        except (OSError, ValueError) as error:
            raise DataError(f"{path} cannot be read ({error}); move it away.") from None
        if lines and not lines[0].startswith('{"verdicts of an unfinished scoring"'):
            raise DataError(f"{path} is no file of kept verdicts, and would be overwritten; move it away.")
        whole = [line for line in lines[1:] if line.endswith("\n")] if lines[:1] == [self._first] else []
        for line in whole:
            try:
                verdict = verdict_of(json.loads(line))
            except (TypeError, ValueError, RecursionError, OverflowError):
                break
            self._known[verdict.id] = verdict
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")
        if not lock(self._file):
            raise DataError(f"{path} is being written by another process; wait for it, or name another --out.")
        self._file.truncate(0)
        self._file.write(self._first)
        for verdict in self._known.values():
            self._write(verdict)

    def get(self, identifier: str) -> Verdict | None:
        """Return the verdict on an item, if it has one already."""
        return self._known.get(identifier)

    def add(self, verdict: Verdict) -> None:
        """Keep a verdict; it is on the disk when this returns."""
        self._known[verdict.id] = verdict
        self._write(verdict)

    def _write(self, verdict: Verdict) -> None:
        self._file.write(json.dumps(asdict(verdict)) + "\n")
        self._file.flush()

    def discard(self) -> None:
        """Remove the file: the report holds the verdicts now."""
        self._file.close()
        self._path.unlink(missing_ok=True)
