"""Finished parts of an analysis: each a JSON of its own, kept under a hash of what it was made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoint.atomic import read_json
from ..checkpoint.own import claim, claim_plain, own_json, sha256
from ..progress import Shown
from .inputs import Task

_WEIGHTS = ("*.safetensors", "*.bin", "config.json", "adapter_config.json")


def digest_of(folder: Path) -> str:
    """Return a hash of the weights and the configuration in a folder."""
    whole = hashlib.sha256()
    for file in sorted({file for pattern in _WEIGHTS for file in folder.glob(pattern)}):
        whole.update(f"{file.name}={sha256(file)};".encode())
    return whole.hexdigest()


def digest_of_task(task: Task) -> str:
    """Return a hash of the examples of a task."""
    return hashlib.sha256(repr((task.name, task.mark, task.items)).encode()).hexdigest()


@dataclass(frozen=True)
class Parts:
    """The folder of an analysis.

    Attributes:
        out: the folder; parts lie in ``out/parts``.
        name: of the analysis, ``out/NAME.json`` and ``out/NAME.png`` hold its result.
    """

    out: Path
    name: str

    @classmethod
    def claimed(cls, out: Path, name: str) -> Parts:
        """Make sure that the result may be written, before any work is done.

        Raises:
            OptionError: a file is somebody else's, or the folder cannot be made.
        """
        parts = cls(out, name)
        claim_plain(out)
        claim([parts.json, parts.png])
        return parts

    @property
    def json(self) -> Path:
        """Name the file of the result."""
        return self.out / f"{self.name}.json"

    @property
    def png(self) -> Path:
        """Name the picture."""
        return self.out / f"{self.name}.png"

    def part(self, what: str, made_from: dict[str, Any], make: Callable[[], Any], shown: Shown) -> Any:
        """Return a part, from the disk where it was made from the same before.

        Args:
            what: it is, for people and in its file's name.
            made_from: everything that decides it.
            make: it; JSON values.
            shown: where progress is shown.
        """
        key = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
        file = self.out / "parts" / f"{self.name}-{key}.json"
        piece = shown.add(what)
        if file.is_file():
            kept = read_json(file, "finished part of an analysis")
            if isinstance(kept, dict) and kept.get("made_from") == made_from and "value" in kept:
                shown.tell(piece, "found")
                return kept["value"]
        shown.tell(piece, "running")
        value = make()
        file.parent.mkdir(parents=True, exist_ok=True)
        own_json(file, {"made_from": made_from, "value": value})
        shown.tell(piece, "done")
        return value
