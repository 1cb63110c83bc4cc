"""The progress of a CITI run as the Board shows it: a line, a table, a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .progress import GATES, Progress, curve
from .texts import message

TOOL, GENERAL, LOSS, BORDER = "#d1495b", "#2e6f95", "#1f77b4", "#8d99ae"


@dataclass(frozen=True)
class Line:
    """One curve of the picture: a logged figure, or what it lacks to 1."""

    key: str
    label: str
    colour: str
    complement: bool = False


@dataclass(frozen=True)
class PicturePanel:
    """Curves with one axis."""

    label: str
    lines: tuple[Line, ...]


PANELS = (
    PicturePanel("language-model loss", (Line("loss_lm", "loss", LOSS),)),
    PicturePanel("router loss", (Line("loss_router", "loss", LOSS),)),
    PicturePanel(
        "experts' weight (1 - gate 0)",
        (
            Line("gate0_tool", "tool data", TOOL, complement=True),
            Line("gate0_general", "general data", GENERAL, complement=True),
        ),
    ),
)
COLUMNS = ("phase", "state", "steps", "loss", "experts_tool", "experts_general")


def headline(progress: Progress, language: str) -> str:
    """What the run is doing now."""
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
    """The headline and one row per phase: state, steps, loss, and the experts' mean weight on both kinds of data."""
    rows = [[message(name, language) for name in COLUMNS], ["---"] * len(COLUMNS)]
    for phase in progress.phases:
        weights = [_number(phase.experts_weight(kind)) for kind in GATES]
        steps = "{}/{}".format(*phase.steps) if phase.lines else "-"
        rows.append([phase.name, message(phase.state, language), steps, _number(phase.last("loss"), 4), *weights])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"**{headline(progress, language)}**\n\n{table}\n\n"


def bar_label(progress: Progress, language: str) -> str:
    """The words beside the progress bar."""
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
    """A matplotlib figure: losses and, where routers learn, the experts' mean weight on tool and on general data.

    Its words are English in every language, as in the Board's own picture: not every machine has other fonts.
    """
    from matplotlib.figure import Figure

    panels = [panel for panel in PANELS if any(curve(progress.phases, line.key)[0] for line in panel.lines)]
    figure = Figure(figsize=(5, 1 + 2 * len(panels)), layout="constrained")
    figure.suptitle(" ")  # the page puts a word of its own there
    axes: Any = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0] if panels else []
    for axis, panel in zip(axes, panels, strict=True):
        for line in panel.lines:
            steps, values = curve(progress.phases, line.key)
            shown = [1 - value for value in values] if line.complement else values
            axis.plot(steps, shown, color=line.colour, marker=".", label=line.label)
        axis.set_ylabel(panel.label)
        if len(panel.lines) > 1:
            axis.set_ylim(-0.02, 1.02)
            axis.legend(frameon=False)
        for end in _ends(progress):
            axis.axvline(end, color=BORDER, lw=1, ls="--")
    figure.supxlabel("optimiser step, phases one after the other", fontsize="medium")
    return figure


def _ends(progress: Progress) -> list[int]:
    """The steps at which a phase has ended and another has followed or will."""
    ends, end = [], 0
    for phase in progress.phases[:-1]:
        end += phase.steps[0]
        if phase.state == "done":
            ends.append(end)
    return ends


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
