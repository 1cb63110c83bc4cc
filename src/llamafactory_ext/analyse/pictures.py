"""The pictures of the analyses."""

from __future__ import annotations

from typing import IO, Any

import matplotlib.pyplot as plt
import numpy as np

from ..figures.run import NEUTRAL, save


def similarity_lines(result: dict[str, Any], picture: IO[bytes]) -> None:
    """Draw the cosine of each ability's change with the tool's over the layers, one panel per trained model.

    Args:
        result: of `icc`.
        picture: an open file.
    """
    models = result["models"]
    figure, axes = plt.subplots(1, len(models), figsize=(1.5 + 4.5 * len(models), 4), squeeze=False, sharey=True)
    for axis, (name, tasks) in zip(axes[0], models.items(), strict=True):
        for number, (task, found) in enumerate(tasks.items()):
            if task != result["tool"]:
                values = [np.nan if value is None else value for value in found["cosine"]]
                axis.plot(range(len(values)), values, "o-", ms=4, color=f"C{number}", label=task)
        axis.axhline(0, color=NEUTRAL, lw=1)
        axis.set_title(name)
        axis.set_xlabel("layer")
        axis.grid(alpha=0.25)
    axes[0][0].set_ylabel(f"cosine with the change of {result['tool']}")
    axes[0][-1].legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    save(figure, picture)


def overlap_maps(result: dict[str, Any], picture: IO[bytes]) -> None:
    """Draw the Jaccard index of every pair of tasks, one map per group.

    Args:
        result: of `overlap`.
        picture: an open file.
    """
    names = result["tasks"]
    groups = result["groups"]
    figure, axes = plt.subplots(1, len(groups), figsize=(2 + 0.9 * len(names) * len(groups), 1.8 + 0.6 * len(names)))
    image = None
    for axis, (group, found) in zip(axes, groups.items(), strict=True):
        values = np.array([[found[one][other] for other in names] for one in names])
        image = axis.imshow(values, vmin=0, vmax=1, cmap="viridis")
        for (row, column), value in np.ndenumerate(values):
            axis.annotate(f"{value:.2f}", (column, row), ha="center", va="center", color="w" if value < 0.6 else "k")
        axis.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axis.set_yticks(range(len(names)), names if axis is axes[0] else [""] * len(names))
        axis.set_title(f"{group} (by chance {result['random']:.2f})", fontsize=10)
    if image is not None:
        figure.colorbar(image, ax=list(axes), label="Jaccard index", pad=0.01)
    save(figure, picture)


def replacement_bars(result: dict[str, Any], picture: IO[bytes]) -> None:
    """Draw the loss of every ability for each share of components replaced.

    Args:
        result: of `replace`.
        picture: an open file.
    """
    table = result["table"]
    variants = list(next(iter(table.values())))
    figure, axis = plt.subplots(figsize=(2 + 1.6 * len(table), 4))
    width = 0.8 / len(variants)
    for number, variant in enumerate(variants):
        colour = (
            "#264653"
            if variant == "vanilla"
            else plt.get_cmap("Reds" if variant[0] == "T" else "Blues")(0.4 + 0.5 * number / len(variants))
        )
        places = [place - 0.4 + width * (number + 0.5) for place in range(len(table))]
        axis.bar(places, [row[variant] for row in table.values()], width * 0.92, color=colour, label=variant)
    axis.set_xticks(range(len(table)), list(table))
    axis.set_ylabel("negative log-likelihood, nats a token")
    axis.grid(axis="y", alpha=0.25)
    axis.set_axisbelow(True)
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    save(figure, picture)
