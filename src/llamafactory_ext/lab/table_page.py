"""The lab's table as Markdown and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

_HEAD = """# The lab's table

Made by `llamafactory-ext lab table --out docs` on the tiny model of the lab, from the runs in `docs/lab/`. Figures
are exact match on held-out items in per cent, with n = {n} items in each set. "tools" is the mean of seen and unseen
tools, "general" that of the other four. ± is one standard error: over the seeds, or over the items if a row has one
seed or none. Seconds are wall-clock time. They do not measure cost, as other work on the machine makes them longer;
benchmarks/README.md has costs.

"""
_COLUMNS = """| row | seeds | tools | seen | unseen | general | math | code | facts | instructions | seconds |
|---|---|---|---|---|---|---|---|---|---|---|
"""
_KEYS = ("tools", "tool_seen", "tool_unseen", "general", "math", "code", "facts", "instructions")


def _cell(figure: dict[str, float]) -> str:
    return f"{figure['mean']:.1f} ± {figure['se']:.1f}"


def page(found: dict[str, Any]) -> str:
    """Return the page: the table, what is missing, paired differences, and what each trial was worth."""
    lines = [_HEAD.format(n=found["n"].get("tool_seen", 0))]
    if found["missing"]:
        counts = ", ".join(f"{name} ({count})" for name, count in found["missing"].items())
        lines.append(f"**Not run yet, with the number of runs: {counts}.** The same command runs them.\n\n")
    lines.append(_COLUMNS)
    for row in found["rows"]:
        cells = " | ".join(_cell(row[key]) for key in _KEYS)
        lines.append(f"| {row['label']} | {len(row['seeds']) or '-'} | {cells} | {row['seconds']:.0f} |\n")
    if found["rows"]:
        lines.append("\n![Calls and general abilities of every row](lab.png)\n")
    if found["differences"]:
        lines.append(
            "\n## Paired differences over the seeds, in points\n\n"
            "| difference | seeds | tools | general |\n|---|---|---|---|\n"
        )
        lines += [
            f"| {one['row']} minus {one['minus']} | {one['seeds']} | {_cell(one['tools'])} | "
            f"{_cell(one['general'])} |\n"
            for one in found["differences"]
        ]
    return "".join([*lines, *_trials(found["trials"])])


def _trials(trials: dict[str, list[dict[str, Any]]]) -> list[str]:
    if not trials:
        return []
    lines = [
        "\n## Trials\n\nEach trial has one seed and is scored on the validation half, which shares no item with the "
        'test half. Its "worth" is the mean of tools and\ngeneral. The table above uses the best settings of each '
        "method.\n\n"
        "| method | settings | tools | general | worth |\n|---|---|---|---|---|\n"
    ]
    for name, tried in trials.items():
        for one in tried:
            known = one["worth"] is not None
            cells = " | ".join(f"{one[key]:.1f}" for key in ("tools", "general", "worth")) if known else "not run | |"
            lines.append(f"| {name} | `{' '.join(one['options'])}` | {cells} |\n")
    return lines


def draw_table(found: dict[str, Any], path: Path | IO[bytes]) -> None:
    """Draw every row as a point: general abilities across, right calls up, with standard errors."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5.5), dpi=150)
    marks = "osD^vP*Xh<>"
    for index, row in enumerate(found["rows"]):
        general, tools = row["general"], row["tools"]
        axes.errorbar(
            general["mean"],
            tools["mean"],
            xerr=general["se"],
            yerr=tools["se"],
            fmt=marks[index % len(marks)],
            color="#d5693c" if row["name"] == "citi" else f"C{index % 10}",
            markersize=9 if row["name"] == "citi" else 7,
            ecolor="#999999",
            label=row["label"],
        )
    axes.set_xlabel("general abilities, exact match, %")
    axes.set_ylabel("tool calls, exact match, %")
    axes.set_title("What each method learns and keeps on the tiny model", fontsize=11)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    figure.savefig(path, bbox_inches="tight")
    pyplot.close(figure)
