"""The files of a table of the lab: a clone's, which carry no mark of ours, may be written anew."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..checkpoint.atomic import read_json
from ..checkpoint.own import claim, is_own, sha256
from ..errors import CheckpointError

Page = Callable[[Any], str]


def claim_table(out: Path, names: Sequence[str], fields: Sequence[str], page: Page | None = None) -> list[str]:
    """Make sure, before hours are spent, that a table may be written over what is there; return the hashes of that.

    Args:
        out: folder of the table.
        names: its files, the JSON first.
        fields: by which the JSON is known as a table.
        page: makes the text of a table's .md file; one with another text is somebody's.

    Raises:
        OptionError: a file there is somebody's.
    """
    data, old = out / names[0], None
    if data.is_file():
        with contextlib.suppress(CheckpointError):  # no JSON: somebody's, unless it carries our mark
            old = read_json(data, "table")
    is_table = data.is_file() and (is_own(data) or (isinstance(old, dict) and old.keys() >= {*fields}))
    there = [path for path in (out / name for name in names) if is_table and path.is_file()]
    known = [sha256(path) for path in there if path.suffix != ".md" or is_page_of(path, old, page)]
    claim([out / name for name in names], known=known)
    return known


def is_page_of(path: Path, table: Any, page: Page | None) -> bool:
    """Tell whether a page is the one that is made of a table's JSON, which may hold anything."""
    try:
        return page is not None and path.read_text("utf-8") == page(table)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        return False
