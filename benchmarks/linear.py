"""What adapters on all linears add to a step of MOLoRA Improvement, over tokens, layers and experts."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from measure import Figure, Row, times
from mi import floor_model, step_on
from setting import EXPERTS, Setting
from steps import Citi, clean

from llamafactory_ext.citi.importance import linear_components

TOKENS = (0.5, 1.0, 1.5, 2.0)  # of the shape's
LAYERS = (0.25, 0.5, 0.75, 1.0)
NUM_EXPERTS = (2, 4, 8, 16)
INK, DOT, LINE = "#30343f", "#2e6f95", "#d1495b"


def run(setting: Setting) -> list[Row]:
    """The plot's data: per sweep the positions, and milliseconds with quartiles of the rounds' own differences."""
    setting = setting.narrow()
    shape = setting.shape
    sweeps = {
        "tokens": [
            (shape.rows * tokens, replace(setting, shape=replace(shape, tokens=tokens)), EXPERTS)
            for tokens in (round(shape.tokens * part) for part in TOKENS)
        ],
        "layers": [
            (layers, replace(setting, shape=replace(shape, layers=layers)), EXPERTS)
            for layers in sorted({max(1, round(shape.layers * part)) for part in LAYERS})
        ],
        "experts": [(experts, setting, experts) for experts in NUM_EXPERTS],
    }
    row = Row("linear", "adapters on all linears: MI step minus frozen forward + dX, over tokens, layers, experts")
    for name, points in sweeps.items():
        found = [adapter_cost(point, experts) for _, point, experts in points]
        positions = [position for position, _, _ in points]
        slope, offset, unexplained = fit(positions, [point["median"] for point in found])
        row.settings[name] = {"at": positions, "ms": found, "slope": slope, "offset": offset}
        row.figures.append(Figure(f"1 - R² of a straight line over {name}", unexplained, unit="share"))
    return [row]


def adapter_cost(setting: Setting, experts: int) -> dict[str, float]:
    """Milliseconds that adapters on all linears cost, the step of the same model without them taken off."""
    base, batch = setting.model(), setting.batch()
    names = list(linear_components(base))
    citi = Citi(base, names, fresh=False, experts=experts)
    citi.enter("mi")
    floor = floor_model(base, names[0])
    calls = {"MOLoRA": clean(citi.model, citi.step, batch), "floor": step_on(floor, batch, floor.lm_head)}
    found = times(calls, rounds=setting.rounds * 3 // 2, device=setting.device)
    costs = [1000 * (ours - without) for ours, without in zip(found["MOLoRA"], found["floor"], strict=True)]
    low, _, high = statistics.quantiles(costs, n=4) if len(costs) > 1 else (costs[0],) * 3
    return {"low": low, "median": statistics.median(costs), "high": high}


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
        _panel(axis, name, data[name])
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
