"""The picture of `lab tl`: a bar per row of the ablation, its reward and its exactly right calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any


def draw(found: Mapping[str, Any], file: IO[bytes]) -> None:
    """Draw every row as a bar with its standard error; rows after PPO are orange."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    rows = found["rows"][::-1]
    figure, panels = pyplot.subplots(1, 2, figsize=(10, 4), dpi=150, sharey=True)
    held_out = found["data"]["held_out"]
    for panel, key, title in zip(
        panels, ("correct", "reward"), ("exactly right calls, %", "mean reward"), strict=True
    ):
        panel.barh(
            [row["label"] for row in rows],
            [row[key]["mean"] for row in rows],
            xerr=[row[key]["se"] or 0 for row in rows],
            color=["#d5693c" if "IRM" in row["label"] else "#6b8fb5" for row in rows],
            error_kw={"ecolor": "#444444", "capsize": 3},
        )
        panel.set_title(f"{title}, {held_out} held-out requests", fontsize=10)
        panel.grid(axis="x", alpha=0.25)
        panel.axvline(0, color="#444444", linewidth=0.8)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    figure.savefig(file, bbox_inches="tight")
    pyplot.close(figure)
