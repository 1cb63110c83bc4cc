"""What adapters on all linears add to a step of MOLoRA Improvement, over tokens, layers and experts."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from measure import Call, Figure, Row, times
from mi import floor_model, step_on
from setting import EXPERTS, Setting, twin
from steps import Citi, clean
from torch import nn

from llamafactory_ext.citi.importance import linear_components

TOKENS = (0.5, 1.0, 1.5, 2.0)  # of the shape's
LAYERS = (0.25, 0.5, 0.75, 1.0)
NUM_EXPERTS = (2, 4, 8, 16)
INK, DOT, LINE = "#30343f", "#2e6f95", "#d1495b"


def run(setting: Setting) -> list[Row]:
    """The plot's data: per sweep the positions, and milliseconds with quartiles of the rounds' own differences."""
    setting = setting.narrow()
    shape, base = setting.shape, setting.model()
    sweeps = {
        "tokens": [Point(shape.rows * tokens, tokens=tokens) for tokens in parts(shape.tokens, TOKENS)],
        "layers": [Point(layers, layers=layers) for layers in parts(shape.layers, LAYERS)],
        "experts": [Point(experts, experts=experts) for experts in NUM_EXPERTS],
    }
    row = Row("linear", "adapters on all linears: MI step minus frozen forward + dX, over tokens, layers, experts")
    row.settings = setting.describe(base, {})
    for name, points in sweeps.items():
        found = costs(setting, base, points)
        positions = [point.at for point in points]
        slope, offset, unexplained = fit(positions, [point["median"] for point in found])
        row.settings[f"over {name}"] = {"at": positions, "ms": found, "slope": slope, "offset": offset}
        row.figures.append(Figure(f"1 - R² of a straight line over {name}", unexplained, unit="share"))
    return [row]


@dataclass(frozen=True)
class Point:
    """A dot of the plot: where it lies on its axis, and what differs from the setting there."""

    at: int
    tokens: int | None = None
    layers: int | None = None
    experts: int = EXPERTS


def parts(whole: int, shares: Sequence[float]) -> list[int]:
    """The shares of a number, each once."""
    return sorted({max(1, round(whole * share)) for share in shares})


def costs(setting: Setting, base: nn.Module, points: Sequence[Point]) -> list[dict[str, float]]:
    """Milliseconds that adapters on all linears cost, the step of the same model without them taken off.

    All points of a line take turns: a machine that is slow for a while raises the line, not one of its dots.
    """
    calls: dict[str, Call] = {}
    for i, point in enumerate(points):
        shape = setting.shape if point.tokens is None else replace(setting.shape, tokens=point.tokens)
        here, batch = twin(base), replace(setting, shape=shape).batch()
        del here.model.layers[point.layers or shape.layers :]
        names = list(linear_components(here))
        citi = Citi(here, names, fresh=False, experts=point.experts)
        citi.enter("mi")
        floor = floor_model(here, names[0])
        calls |= {
            f"with {i}": clean(citi.model, citi.step, batch),
            f"without {i}": step_on(floor, batch, floor.lm_head),
        }
    found = times(calls, rounds=setting.rounds * 3 // 2, device=setting.device)
    return [_spread(found[f"with {i}"], found[f"without {i}"]) for i in range(len(points))]


def _spread(ours: Sequence[float], without: Sequence[float]) -> dict[str, float]:
    milliseconds = [1000 * (a - b) for a, b in zip(ours, without, strict=True)]
    low, _, high = statistics.quantiles(milliseconds, n=4) if len(milliseconds) > 1 else (milliseconds[0],) * 3
    return {"low": low, "median": statistics.median(milliseconds), "high": high}


def fit(positions: list[int], values: list[float]) -> tuple[float, float, float]:
    """Least squares: slope, offset, and the share of the variance that the line leaves."""
    slope, offset = np.polyfit(positions, values, 1)
    rest = np.asarray(values) - (slope * np.asarray(positions) + offset)
    return float(slope), float(offset), float(rest.var() / np.var(values))


def plot(data: dict[str, Any], path: Path) -> None:
    """Draws the settings of the row as three panels."""
    names = ("tokens", "layers", "experts")
    figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.2), layout="constrained")
    for axis, name in zip(axes, names, strict=True):
        _panel(axis, name, data[f"over {name}"])
    axes[0].set_ylabel("added per step, ms", color=INK)
    figure.suptitle("What MOLoRA on every linear adds to a training step", color=INK, fontsize=11)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _panel(axis: Axes, name: str, sweep: dict[str, Any]) -> None:
    at = np.asarray(sweep["at"])
    low, median, high = (np.asarray([point[key] for point in sweep["ms"]]) for key in ("low", "median", "high"))
    ends = np.array([0, at.max() * 1.06])
    label = f"{sweep['slope']:.3g} ms per {name.removesuffix('s')}"
    axis.plot(ends, sweep["slope"] * ends + sweep["offset"], color=LINE, lw=1.4, label=label)
    spread = np.maximum([median - low, high - median], 0)
    axis.errorbar(at, median, spread, fmt="o", ms=5, color=DOT, ecolor=DOT, elinewidth=1, capsize=3)
    axis.set_xlim(0, ends[1])
    axis.set_ylim(0, max(high.max(), median.max()) * 1.15)
    axis.set_xlabel(name, color=INK)
    axis.legend(frameon=False, loc="upper left", fontsize=9)
    axis.grid(axis="y", color="#e4e6eb", lw=0.8)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
