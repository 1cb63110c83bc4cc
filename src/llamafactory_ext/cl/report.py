"""A comparison as text, as a picture and as JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ..checkpoint.atomic import write_text
from .metrics import error_of_mean, mean_and_sd

_BASE: Final = "base"
# Signs that begin markup or end a cell; an underscore within a word does neither.
_MARKUP: Final = re.compile(r"[|`*\[\]<>\\]|(?<![^\W_])_|_(?![^\W_])")
_FIGURES = (
    ("ap", "AP"),
    ("bwt", "BWT"),
    ("forgetting", "forgetting"),
    ("plasticity", "plasticity"),
    ("fwt", "FWT"),
    ("general_change", "general change"),
)


def as_markdown(result: Mapping[str, Any]) -> str:
    """Return the comparison as Markdown: the figures of every method, then every matrix.

    Args:
        result: what `run_plan` returned.
    """
    tasks = [_cell(name) for name in result["tasks"]]
    parts = [f"# {_cell(str(result['name']))}", "", f"Tasks in order: {', '.join(tasks)}.", "", *_figures(result)]
    parts += [
        "",
        "AP: mean of the last row; ± is the binomial standard error of one run's AP, and, behind `sd`, the deviation "
        "over seeds. BWT: last row minus diagonal, without the last task. Forgetting: best earlier score minus the "
        "last. Plasticity: mean of the diagonal. FWT: score before a task is learnt minus the base model's. General "
        "change: mean over the general sets after the last task minus the base model's. The row base is the model "
        "before any task; - was not measured.",
    ]
    for name, method in result["methods"].items():
        for run in method["runs"]:
            parts += ["", f"## {_cell(name)}, seed {run['seed']}", "", *_matrix(result, run)]
    return "\n".join(parts) + "\n"


def write_report(result: Mapping[str, Any], out: Path) -> list[Path]:
    """Write report.md and heatmap.png beside result.json; return their paths.

    Args:
        result: what `run_plan` returned.
        out: the comparison's folder.
    """
    write_text(out / "report.md", as_markdown(result))
    as_figure(result).savefig(out / "heatmap.png", dpi=120)
    return [out / "report.md", out / "heatmap.png"]


def _figures(result: Mapping[str, Any]) -> list[str]:
    lines = [
        "| method | steps | " + " | ".join(label for _, label in _FIGURES) + " |",
        "|---|---|" + "---|" * len(_FIGURES),
    ]
    if result["base"] is not None:
        own = [result["base"][task] for task in result["tasks"]]
        mean = sum(cell["score"] for cell in own) / len(own)
        error = error_of_mean([cell["score"] for cell in own], [cell["n"] for cell in own])
        lines.append(f"| {_BASE} | - | {mean:.3f} ± {error:.3f} |" + " - |" * (len(_FIGURES) - 1))
    for name, method in result["methods"].items():
        runs = method["runs"]
        cells = [
            _over_seeds([run[key] for run in runs], _error(runs[0]) if key == "ap" else None) for key, _ in _FIGURES
        ]
        steps = sum(step for step in runs[0]["steps"] if step)
        label = _cell(name) + (f" ({method['share']:.0%} replayed)" if method["share"] else "")
        lines.append(f"| {label} | {steps} | " + " | ".join(cells) + " |")
    return lines


def _error(run: Mapping[str, Any]) -> float | None:
    """Return the standard error of a run's AP over its items."""
    count = len(run["matrix"])
    last = [run["cells"].get(f"{count - 1},{i}") or run["cells"].get(f"{i},{i}") for i in range(count)]
    if not all(last):
        return None
    return error_of_mean([cell["score"] for cell in last], [cell["n"] for cell in last])


def _over_seeds(values: Sequence[float | None], error: float | None) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return "-"
    mean, sd = mean_and_sd(known)
    text = f"{mean:.3f}" + (f" ± {error:.3f}" if error is not None else "")
    return text + (f" sd {sd:.3f}" if sd is not None else "")


def _matrix(result: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    names = result["tasks"]
    tasks = [_cell(name) for name in names]
    lines = ["| after | " + " | ".join(tasks) + " |", "|---|" + "---|" * len(tasks)]
    if result["base"] is not None:
        lines.append(f"| {_BASE} | " + " | ".join(_score(result["base"][name]) for name in names) + " |")
    for t in range(len(run["matrix"])):
        cells = [_score(run["cells"].get(f"{t},{i}")) for i in range(len(tasks))]
        lines.append(f"| {tasks[t]} | " + " | ".join(cells) + " |")
    return lines


def _score(cell: Mapping[str, Any] | None) -> str:
    return "-" if cell is None else f"{cell['score']:.3f} ± {cell['se']:.3f} (n {cell['n']})"


def _cell(text: str) -> str:
    """Return a name that cannot end a cell or begin markup."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


def as_figure(result: Mapping[str, Any]) -> Any:
    """Return the matrices of every method's first seed as a figure of matplotlib's.

    Args:
        result: what `run_plan` returned.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    methods, tasks = list(result["methods"].items()), list(result["tasks"])
    figure = Figure(figsize=(2.5 + 3.2 * len(methods), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(methods), squeeze=False)[0]
    for axis, (name, method) in zip(axes, methods, strict=True):
        rows = [[float("nan") if value is None else value for value in row] for row in method["runs"][0]["matrix"]]
        image = axis.imshow(rows, vmin=0, vmax=1, cmap="viridis")
        for t, row in enumerate(rows):
            for i, value in enumerate(row):
                if value == value:
                    axis.text(
                        i, t, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.6 else "black"
                    )
        axis.set_title(_drawn(name))
        axis.set_xticks(range(len(tasks)), [_drawn(task) for task in tasks], rotation=45, ha="right")
        axis.set_yticks(range(len(tasks)), [f"after {_drawn(task)}" for task in tasks])
    seed = methods[0][1]["runs"][0]["seed"]
    figure.suptitle(f"{_drawn(result['name'])}: score on each task after each task, seed {seed}")
    figure.colorbar(image, ax=list(axes), label="score")
    return figure


def _drawn(text: str) -> str:
    """Return a name that is drawn as it is: between dollar signs would be a formula."""
    return text.replace("$", r"\$")
