"""The files of a table of the lab: a clone's, which carry no mark of ours, may be written anew."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from ..checkpoint.atomic import read_json
from ..checkpoint.own import claim, is_own, sha256
from ..errors import CheckpointError


def claim_table(out: Path, names: Sequence[str], fields: Sequence[str]) -> list[str]:
    """Make sure, before hours are spent, that a table may be written over what is there; return the hashes of that.

    Args:
        out: folder of the table.
        names: its files, the JSON first.
        fields: by which the JSON is known as a table.

    Raises:
        OptionError: a file there is somebody's.
    """
    data = out / names[0]
    is_table = data.is_file() and is_own(data)
    if data.is_file() and not is_table:
        with contextlib.suppress(CheckpointError):  # no JSON: somebody's
            old = read_json(data, "table")
            is_table = isinstance(old, dict) and old.keys() >= {*fields}
    known = [sha256(out / name) for name in names if (out / name).is_file()] if is_table else []
    claim([out / name for name in names], known=known)
    return known
