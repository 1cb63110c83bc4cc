"""The error statistics of trajectories as a picture, after TL-Training's Figure 1 (arXiv:2412.15495)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import PercentFormatter

from .run import NEUTRAL, save

_LONGEST_NAME = 28


def error_figure(
    shares: Mapping[str, Mapping[str, float]], totals: Mapping[str, tuple[int, int, int]], path: Path | IO[bytes]
) -> None:
    """Draw the share of calls of each category, one bar for each data set.

    The first category is that of sound calls.

    Errors are rare beside sound calls, so they have a panel with a scale of their own.

    Args:
        shares: data set -> category -> share of its judged calls.
        totals: data set -> (judged calls, trajectories with errors, trajectories).
        path: the PNG.
    """
    first, *errors = next(iter(shares.values()))
    colours = plt.get_cmap("tab10")(np.arange(len(shares)) % 10)
    height = 1.6 + 0.28 * len(shares) * (len(errors) + 1)
    figure, axes = plt.subplots(
        2, 1, figsize=(8, height), height_ratios=(1, max(len(errors), 1)), layout="constrained"
    )
    widest = max((row[kind] for row in shares.values() for kind in errors), default=0)
    for axis, kinds, limit in ((axes[0], [first], 1.0), (axes[1], errors, max(widest * 1.25, 0.01))):
        thickness = 0.8 / len(shares)
        for number, (name, row) in enumerate(shares.items()):
            calls, faulty, trajectories = totals[name]
            places = np.arange(len(kinds)) + (number - (len(shares) - 1) / 2) * thickness
            values = [row[kind] for kind in kinds]
            label = f"{name[:_LONGEST_NAME]}: {calls:,} calls, {faulty:,} of {trajectories:,} trajectories with errors"
            axis.barh(places, values, thickness * 0.9, color=colours[number], label=label)
            for place, value in zip(places, values, strict=True):
                inside = value > 0.9 * limit
                axis.annotate(
                    f"{value:.1%}", (value, place), (-4 if inside else 4, 0), textcoords="offset points",
                    va="center", ha="right" if inside else "left", fontsize=9, color="white" if inside else "black",
                )  # fmt: skip
        axis.set_yticks(range(len(kinds)), kinds)
        axis.set_xlim(0, limit)
        axis.invert_yaxis()
        axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        axis.grid(axis="x", color=NEUTRAL, alpha=0.3)
        axis.set_axisbelow(True)
    axes[1].set_xlabel("share of the calls with feedback")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", frameon=False)
    save(figure, path)
