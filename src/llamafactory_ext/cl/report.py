"""A comparison as text, as a picture and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checkpoint.atomic import write_text
from .metrics import error_of_mean, mean_and_sd

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
        "change: mean over the general sets after the last task minus the base model's.",
    ]
    for name, method in result["methods"].items():
        for run in method["runs"]:
            parts += ["", f"## {_cell(name)}, seed {run['seed']}", "", *_matrix(tasks, run)]
    return "\n".join(parts) + "\n"


def write_report(result: Mapping[str, Any], out: Path) -> list[Path]:
    """Write report.md and heatmap.png beside result.json; return their paths.

    Args:
        result: what `run_plan` returned.
        out: the comparison's folder.
    """
    write_text(out / "report.md", as_markdown(result))
    _draw(result, out / "heatmap.png")
    return [out / "report.md", out / "heatmap.png"]


def _figures(result: Mapping[str, Any]) -> list[str]:
    lines = [
        "| method | steps | " + " | ".join(label for _, label in _FIGURES) + " |",
        "|---|---|" + "---|" * len(_FIGURES),
    ]
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
    """The standard error of a run's AP over its items."""
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


def _matrix(tasks: Sequence[str], run: Mapping[str, Any]) -> list[str]:
    lines = ["| after | " + " | ".join(tasks) + " |", "|---|" + "---|" * len(tasks)]
    for t, row in enumerate(run["matrix"]):
        cells = []
        for i, value in enumerate(row):
            cell = run["cells"].get(f"{t},{i}")
            cells.append("" if value is None else f"{value:.3f} ± {cell['se']:.3f} (n {cell['n']})")
        lines.append(f"| {tasks[t]} | " + " | ".join(cells) + " |")
    return lines


def _cell(text: str) -> str:
    """Return a name that cannot end a cell or begin markup."""
    return "".join(f"\\{sign}" if sign in "|`*_[]<>\\" else sign for sign in " ".join(text.split()))


def _draw(result: Mapping[str, Any], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    methods, tasks = list(result["methods"].items()), list(result["tasks"])
    figure = Figure(figsize=(1.5 + 3.2 * len(methods), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(methods), squeeze=False)[0]
    for axis, (name, method) in zip(axes, methods, strict=True):
        rows = [[float("nan") if value is None else value for value in row] for row in method["runs"][0]["matrix"]]
        axis.imshow(rows, vmin=0, vmax=1, cmap="viridis")
        for t, row in enumerate(rows):
            for i, value in enumerate(row):
                if value == value:
                    axis.text(
                        i, t, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.6 else "black"
                    )
        axis.set_title(name)
        axis.set_xticks(range(len(tasks)), tasks, rotation=45, ha="right")
        axis.set_yticks(range(len(tasks)), [f"after {task}" for task in tasks])
    figure.savefig(path, dpi=120)
