"""The progress of a run as the Board shows it: a line, a table, a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..methods import load
from ..training.curves import BORDER, LANGUAGE_MODEL, Axis, Curve
from .progress import PhaseProgress, Progress, curve
from .texts import message

COLUMNS = ("phase", "state", "steps", "loss")


def axes_of(progress: Progress) -> tuple[Axis, ...]:
    """Return what the run's method draws; the loss alone where it says nothing."""
    row = progress.method
    found: tuple[Axis, ...] = load(row.curves) if row is not None and row.curves else (LANGUAGE_MODEL,)
    return found


def headline(progress: Progress, language: str) -> str:
    """Return what the run is doing now."""
    phase = progress.running
    if not progress.chosen:
        return message("importance", language)
    if phase is None:
        return message("finished" if progress.finished else "report", language)
    return message(
        "progress",
        language,
        phase=phase.name.upper(),
        title=phase.title,
        index=progress.phases.index(phase) + 1,
        count=len(progress.phases),
    )


def as_markdown(progress: Progress, language: str) -> str:
    """Return the headline and one row per phase: state, steps, loss, and the figures of the method's columns."""
    curves = [curve for axis in axes_of(progress) for curve in axis.curves if curve.column]
    columns = (*COLUMNS, *(curve.column for curve in curves))
    rows = [[phase.name, message(phase.state, language), *_figures(phase, curves)] for phase in progress.phases]
    return f"**{headline(progress, language)}**\n\n{_table(columns, rows, language)}\n\n"


def newest_figures(progress: Progress, language: str) -> str:
    """Return the newest figures of a run without phases as a table: steps, loss, and the method's columns."""
    (phase,) = progress.phases
    shown = (curve for axis in axes_of(progress) for curve in axis.curves)
    curves = [curve for curve in shown if curve.column and phase.last(curve.key) is not None]
    if not curves:
        return ""
    columns = (*COLUMNS[2:], *(curve.column for curve in curves))
    return f"{_table(columns, [_figures(phase, curves)], language)}\n\n"


def _figures(phase: PhaseProgress, curves: Sequence[Curve]) -> list[str]:
    steps = "{}/{}".format(*phase.steps) if phase.lines else "-"
    return [steps, _number(phase.last("loss"), 4), *(_number(phase.shown(curve)) for curve in curves)]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], language: str) -> str:
    lines = [[message(name, language) for name in columns], ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def bar_label(progress: Progress, language: str) -> str:
    """Return the words beside the progress bar."""
    phase = progress.running
    if phase is None or not phase.lines:
        return headline(progress, language)
    newest = phase.lines[-1]
    return message(
        "running_steps",
        language,
        phase=phase.name.upper(),
        current=newest["current_steps"],
        total=newest["total_steps"],
        elapsed=newest.get("elapsed_time", "?"),
        remaining=newest.get("remaining_time", "?"),
    )


def picture(progress: Progress) -> Any:
    """Return a matplotlib figure: the curves of the method that have any values.

    Its words are English in every language, as in the Board's own picture: not every machine has other fonts.
    """
    from matplotlib.figure import Figure

    panels = [axis for axis in axes_of(progress) if any(curve(progress.phases, line.key)[0] for line in axis.curves)]
    figure = Figure(figsize=(5, 1 + 2 * len(panels)), layout="constrained")
    figure.suptitle(" ")  # the page puts a word of its own there
    axes: Any = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0] if panels else []
    for axis, panel in zip(axes, panels, strict=True):
        for line in panel.curves:
            steps, values = curve(progress.phases, line.key)
            shown = [1 - value for value in values] if line.complement else values
            axis.plot(steps, shown, color=line.colour, marker=".", label=line.label)
        axis.set_ylabel(panel.label)
        if panel.share:
            axis.set_ylim(-0.02, 1.02)
        if len(panel.curves) > 1:
            axis.legend(frameon=False)
        for end in _ends(progress):
            axis.axvline(end, color=BORDER, lw=1, ls="--")
    phases = ", phases one after the other" if len(progress.phases) > 1 else ""
    figure.supxlabel(f"optimiser step{phases}", fontsize="medium")
    return figure


def _ends(progress: Progress) -> list[int]:
    """Return the steps at which a phase has ended and another has followed or will."""
    ends, end = [], 0
    for phase in progress.phases[:-1]:
        end += phase.steps[0]
        if phase.state == "done":
            ends.append(end)
    return ends


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
