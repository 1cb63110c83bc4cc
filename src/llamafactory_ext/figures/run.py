"""Pictures of a run in phases: importance map, training curves over the phases, routers."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..checkpoint.atomic import staged_file

TOOL, GENERAL, NEUTRAL = "#d1495b", "#2e6f95", "#8d99ae"


def save(figure: Figure, path: Path | IO[bytes]) -> None:
    """Write a PNG: a file whole or not at all, or into an open one."""
    staging = staged_file(path) if isinstance(path, Path) else contextlib.nullcontext(path)
    with staging as place:
        figure.savefig(place, format="png", dpi=130, bbox_inches="tight")
    plt.close(figure)


def _grid(names: Sequence[str]) -> tuple[dict[str, tuple[int, int]], list[str], list[str]]:
    """Return row (kind of linear) and column (layer) of each component, and the labels of both."""
    parsed = {}
    for name in names:
        match = re.search(r"\.(\d+)\.(.+)$", name)
        parsed[name] = (match[2] if match else name, int(match[1]) if match else 0)
    kinds = list(dict.fromkeys(kind for kind, _ in parsed.values()))
    layers = sorted({layer for _, layer in parsed.values()})
    cells = {name: (kinds.index(kind), layers.index(layer)) for name, (kind, layer) in parsed.items()}
    return cells, [kind.rsplit(".", 1)[-1] for kind in kinds], [str(layer) for layer in layers]


def importance_map(
    tool: Mapping[str, float],
    general: Mapping[str, float],
    adapted: Sequence[str],
    tuned: Sequence[str],
    path: Path | IO[bytes],
    carried: str = "MOLoRA",
) -> None:
    """Draw M_h and C_h over layers and kinds of linears.

    Squares mark what `adapted` carry, circles full tuning in UCO.
    """
    cells, kinds, layers = _grid(list(tool))
    width = max(5.0, 0.32 * len(layers) + 2.5)
    figure, axes = plt.subplots(2, 1, figsize=(width, 1.4 + 0.62 * len(kinds)), sharex=True, layout="constrained")
    for axis, scores, title in (
        (axes[0], tool, "tool importance $M_h$"),
        (axes[1], general, "general importance $C_h$"),
    ):
        values = np.full((len(kinds), len(layers)), np.nan)
        for name, cell in cells.items():
            values[cell] = scores[name]
        logs = np.log10(np.maximum(values, np.nanmax(values) * 1e-4))
        image = axis.imshow(logs, aspect="auto", cmap="magma")
        for names, marker, label in ((adapted, "s", carried), (tuned, "o", "tuned in full")):
            rows, columns = zip(*(cells[name] for name in names), strict=True) if names else ((), ())
            axis.scatter(
                columns, rows, marker=marker, s=70, facecolors="none", edgecolors="#6ee7b7", lw=1.8, label=label
            )
        axis.set_yticks(range(len(kinds)), kinds)
        axis.set_title(title, loc="left")
        figure.colorbar(image, ax=axis, label="log10 share", pad=0.01)
    axes[1].set_xticks(range(len(layers)), layers)
    axes[1].set_xlabel("layer")
    handles, labels = axes[0].get_legend_handles_labels()
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_edgecolor("#059669")  # type: ignore[union-attr]
    save(figure, path)


def training_curves(phases: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Draw the loss, and of runs with a router loss that and gate 0, over the optimiser steps of all phases.

    Args:
        phases: phase name to its log history (dicts with `step` and the logged values).
        path: the PNG.
    """
    routed = any("loss_router" in entry for history in phases.values() for entry in history)
    panels = 3 if routed else 1
    figure, grid = plt.subplots(
        panels, 1, figsize=(8, 1 + 2 * panels), sharex=True, layout="constrained", squeeze=False
    )
    axes = list(grid[:, 0])
    offset, borders = 0, []
    for name, history in phases.items():
        logged = [entry for entry in history if "loss" in entry]
        for panel, key, colour in (
            (0, "loss_lm", "#264653"),
            (1, "loss_router", "#264653"),
            (2, "gate0_general", GENERAL),
            (2, "gate0_tool", TOOL),
        ):
            points = [(entry["step"] + offset, entry[key]) for entry in logged if key in entry]
            if points:
                axes[panel].plot(
                    *zip(*points, strict=True), color=colour, marker="." if len(points) < 25 else None, lw=1.6
                )
        end = offset + max((entry["step"] for entry in history), default=0)
        borders.append((name, offset, end))
        offset = end
    for axis, label in zip(axes, ("language-model loss", "router loss", "gate 0 (tool-unrelated)"), strict=False):
        axis.set_ylabel(label)
        axis.grid(alpha=0.25)
        for _, _, end in borders[:-1]:
            axis.axvline(end, color=NEUTRAL, lw=1, ls="--")
    for name, start, end in borders:
        axes[0].annotate(name.upper(), ((start + end) / 2, 1.02), xycoords=("data", "axes fraction"), ha="center")
    if routed:
        axes[2].plot([], [], color=GENERAL, label="general data")
        axes[2].plot([], [], color=TOOL, label="tool data")
        axes[2].set_ylim(-0.02, 1.02)
        axes[2].legend(frameon=False, loc="center right")
    axes[-1].set_xlabel("optimiser step, phases one after the other")
    save(figure, path)


def router_gates(
    gates: Mapping[str, Mapping[str, Sequence[float]]], path: Path | IO[bytes], *, neutral: bool = True
) -> None:
    """Draw the mean gates of every router on general and on tool tokens (the paper's Figures 6 and 7).

    Args:
        gates: router name to the gates of both kinds of data.
        path: the PNG.
        neutral: gate 0 drives no expert; False: every gate drives one.
    """
    names = list(gates)
    figure, axes = plt.subplots(
        1, 2, figsize=(9, 1.2 + 0.3 * len(names)), sharey=True, sharex=True, layout="constrained"
    )
    for axis, kind, title in zip(axes, ("general", "tool"), ("general data", "tool data"), strict=True):
        _stacked(axis, [gates[name][kind] for name in names], neutral)
        axis.set_title(title, loc="left", color=GENERAL if kind == "general" else TOOL)
        axis.set_xlabel("mean gate")
        axis.set_xlim(0, 1)
    axes[0].set_yticks(range(len(names)), [re.sub(r"^model\.|layers\.|self_attn\.|mlp\.", "", name) for name in names])
    axes[0].invert_yaxis()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    save(figure, path)


def _stacked(axis: Axes, rows: Sequence[Sequence[float]], neutral: bool) -> None:
    values = np.array(rows)
    left = np.zeros(len(values))
    experts = values.shape[1] - neutral
    colours = [*[NEUTRAL] * neutral, *plt.get_cmap("YlOrRd")(np.linspace(0.35, 0.85, experts))]
    labels = [*["gate 0: backbone alone"] * neutral, *(f"expert {i + 1}" for i in range(experts))]
    for gate in range(values.shape[1]):
        axis.barh(range(len(values)), values[:, gate], left=left, color=colours[gate], label=labels[gate])
        left += values[:, gate]
