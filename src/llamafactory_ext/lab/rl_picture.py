"""The picture of `lab rl`: success of held-out tasks over the processor's time, a line per run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from .rl import Curve


def draw(curves: Sequence[Curve], path: Path | IO[bytes]) -> None:
    """Draw every run from the common start on, with standard errors; a colour and a marker per way to go on."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(curve.arm for curve in curves))
    figure, panel = pyplot.subplots(figsize=(8, 4.5), dpi=150)
    for curve in curves:
        place = names.index(curve.arm)
        panel.errorbar(
            [point.seconds for point in curve.points],
            [100 * point.success for point in curve.points],
            yerr=[100 * point.error for point in curve.points],
            color=f"C{place}",
            marker="osD^v"[place % 5],
            alpha=0.8,
            capsize=3,
            label=curve.label if curve.seed == 1 else None,
        )
    panel.set_xlabel("seconds of one core")
    panel.set_title(f"tasks done, %, of {curves[0].points[0].count} held-out ones, greedy", fontsize=10)
    panel.set_ylim(0, 100)
    panel.grid(alpha=0.25)
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)
    panel.legend(frameon=False)
    figure.savefig(path, bbox_inches="tight")
    pyplot.close(figure)
