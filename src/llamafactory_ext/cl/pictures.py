"""A comparison's pictures: the matrices as heat maps, scores as tasks arrive, and what gates did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, Final

from .metrics import mean_and_sd

_COLOURS: Final = ("#2e6f95", "#d1495b", "#3d8b5f", "#edae49", "#7b4fa3", "#8d99ae", "#7a5c3e", "#1b998b")
_ROW = 4  # heat maps side by side


def pictures(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return figures of matplotlib's by the name of their file; those without values are left out.

    Args:
        result: what `run_plan` returned.
    """
    found = {"heatmap.png": heat_map(result), "curves.png": curves(result)}
    if any(_gates_of(method) for method in result["methods"].values()):
        found["gates.png"] = gates(result)
    return found


def heat_map(result: Mapping[str, Any]) -> Any:
    """Return the matrices of every method's first seed."""
    methods, tasks = list(result["methods"].items()), list(result["tasks"])
    rows, columns = -(-len(methods) // _ROW), min(_ROW, len(methods))
    figure = _figure(2.5 + 3.2 * columns, 0.4 + 3.2 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    axes = list(grid.flat)
    for axis in axes[len(methods) :]:
        axis.remove()
    axes = axes[: len(methods)]
    for axis, (name, method) in zip(axes, methods, strict=True):
        values = [[float("nan") if value is None else value for value in row] for row in method["runs"][0]["matrix"]]
        image = axis.imshow(values, vmin=0, vmax=1, cmap="viridis")
        for t, row in enumerate(values):
            for i, value in enumerate(row):
                if value == value:
                    colour = "white" if value < 0.6 else "black"
                    axis.text(i, t, f"{value:.2f}", ha="center", va="center", color=colour)
        axis.set_title(drawn(name))
        axis.set_xticks(range(len(tasks)), [drawn(task) for task in tasks], rotation=45, ha="right")
        axis.set_yticks(range(len(tasks)), [f"after {drawn(task)}" for task in tasks])
    seed = methods[0][1]["runs"][0]["seed"]
    figure.suptitle(f"{drawn(result['name'])}: score on each task after each task, seed {seed}")
    figure.colorbar(image, ax=axes, label="score")
    return figure


def seen_so_far(run: Mapping[str, Any]) -> list[float | None]:
    """Return after each task the mean score of the tasks learnt until then; None where one was not measured."""
    means: list[float | None] = []
    for t, row in enumerate(run["matrix"]):
        known = [value for value in row[: t + 1] if value is not None]
        means.append(sum(known) / len(known) if len(known) == t + 1 else None)
    return means


def curves(result: Mapping[str, Any]) -> Any:
    """Return the mean over the tasks so far, and each task by itself, as tasks arrive: means over seeds."""
    tasks = list(result["tasks"])
    figure = _figure(4.6 + 2.4 * len(tasks), 3.8)
    axes = figure.subplots(1, 1 + len(tasks), squeeze=False, sharey=True)[0]
    for (name, method), colour in zip(result["methods"].items(), cycle(_COLOURS), strict=False):
        runs = method["runs"]
        _line(axes[0], [seen_so_far(run) for run in runs], colour, drawn(name))
        for i, axis in enumerate(axes[1:]):
            _line(axis, [[row[i] for row in run["matrix"]] for run in runs], colour, drawn(name))
    for axis, title in zip(axes, ("mean of the tasks so far", *map(drawn, tasks)), strict=True):
        axis.set_title(title, fontsize=10)
        axis.set_xticks(range(len(tasks)), [drawn(task) for task in tasks], rotation=45, ha="right")
        axis.set_ylim(-0.02, 1.02)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("score")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    figure.suptitle(f"{drawn(result['name'])}: after each task")
    return figure


def gates(result: Mapping[str, Any]) -> Any:
    """Return mean and deviation of the gates by group and task, of every method that has gates, first seed."""
    shown = {name: found for name, method in result["methods"].items() if (found := _gates_of(method))}
    figure = _figure(1.5 + 3.6 * len(shown), 5.6)
    axes = figure.subplots(2, len(shown), squeeze=False, sharey=True)
    for column, (name, found) in enumerate(shown.items()):
        groups = list(dict.fromkeys(group for task in found for group in task))
        for part, rank in enumerate(("low", "high")):
            axis = axes[part][column]
            for group, colour in zip(groups, cycle(_COLOURS), strict=False):
                at = [t for t, task in enumerate(found) if group in task]
                mean, sd = ([found[t][group][key][part] for t in at] for key in ("mean", "sd"))
                axis.errorbar(at, mean, yerr=sd, color=colour, marker="o", capsize=3, label=drawn(group))
            axis.set_ylim(-0.05, 1.05)
            axis.set_title(f"{drawn(name)}: {rank} rank", fontsize=10)
            axis.set_xticks(range(len(result["tasks"])), [drawn(task) for task in result["tasks"]], rotation=30)
            axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=8)
    figure.suptitle(f"{drawn(result['name'])}: gates, mean and deviation over tokens")
    return figure


def drawn(text: str) -> str:
    """Return a name that is drawn as it is: between dollar signs would be a formula."""
    return text.replace("$", r"\$")


def _gates_of(method: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = [task or {} for task in method["runs"][0].get("gates") or []]
    return found if any(found) else []


def _line(axis: Any, series: Sequence[Sequence[float | None]], colour: str, label: str) -> None:
    points = []
    for t, values in enumerate(zip(*series, strict=True)):
        known = [value for value in values if value is not None]
        if len(known) == len(values):
            mean, sd = mean_and_sd(known)
            points.append((t, mean, sd or 0.0))
    at, means, sds = zip(*points, strict=True) if points else ((), (), ())
    axis.errorbar(at, means, yerr=sds, color=colour, marker="o", ms=4, capsize=2, lw=1.6, label=label)


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
