"""A fingerprint of this package's code, for caches that must not outlive a change of it."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent


def source_hash() -> str:
    """Return a hash of all Python files of this package, names included; they are read once in a process.

    LLaMA-Factory's cache of preprocessed data knows converters, templates and processors by their pickled state, and
    classes of importable modules by their name only. Ours carry this hash in their state. It covers the whole package:
    a list of the files that have to do with preprocessing would be forgotten once, and after an update of the package
    data is tokenised again in minutes.
    """
    return _hash(PACKAGE)


@cache
def _hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(f"{file.relative_to(folder).as_posix()}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]
