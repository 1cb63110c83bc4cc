"""The files of `data stats`: the counts as JSON and the figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..data.files.writing import atomic_text, make_folder
from .statistics import Statistics


def write_statistics(folder: Path, statistics: Sequence[Statistics]) -> list[Path]:
    """Write error_statistics.json and error_statistics.png, each whole or not at all.

    Raises:
        DataError: the folder cannot be written.
    """
    from ..figures.errors import error_figure  # only now: matplotlib takes a second to load

    make_folder(folder)
    numbers, picture = folder / "error_statistics.json", folder / "error_statistics.png"
    with atomic_text(numbers) as handle:
        json.dump([one.summary() for one in statistics], handle, indent=2)
        handle.write("\n")
    kinds = list(dict.fromkeys(kind for one in statistics for kind in one.categories()))
    shares = {one.name: {kind: one.share(kind) or 0.0 for kind in kinds} for one in statistics}
    totals = {one.name: (one.calls.total(), one.faulty, one.trajectories) for one in statistics}
    error_figure(shares, totals, picture)
    return [numbers, picture]
