"""The files of `data stats`: the counts as JSON and the figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..checkpoint.own import own_file, own_text
from .statistics import Statistics

FILES = ("error_statistics.json", "error_statistics.png")


def write_statistics(folder: Path, statistics: Sequence[Statistics]) -> list[Path]:
    """Write error_statistics.json and error_statistics.png, each whole or not at all.

    Raises:
        DataError: the folder cannot be written.
    """
    from ..figures.errors import error_figure  # only now: matplotlib takes a second to load

    numbers, picture = (folder / name for name in FILES)
    own_text(numbers, json.dumps([one.summary() for one in statistics], indent=2) + "\n")
    kinds = list(dict.fromkeys(kind for one in statistics for kind in one.categories()))
    shares = {one.name: {kind: one.share(kind) or 0.0 for kind in kinds} for one in statistics}
    totals = {one.name: (one.calls.total(), one.faulty, one.trajectories) for one in statistics}
    with own_file(picture) as staged, staged.open("wb") as file:
        error_figure(shares, totals, file)
    return [numbers, picture]
