"""The lab's table as Markdown and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

_HEAD = """# The lab's table

Made by `llamafactory-ext lab table` on the tiny model of the lab. Exact match on held-out items in per cent, mean
± standard error {errors}; n = {n} items a set. "tools" is the mean of seen and unseen tools.

| row | tools | seen | unseen | general | math | code | facts | instructions | seconds |
|---|---|---|---|---|---|---|---|---|---|
"""
_KEYS = ("tools", "tool_seen", "tool_unseen", "general", "math", "code", "facts", "instructions")


def _cell(figure: dict[str, float]) -> str:
    return f"{figure['mean']:.1f} ± {figure['se']:.1f}"


def page(found: dict[str, Any]) -> str:
    """Return the page: the table, paired differences, and what each trial was worth."""
    seeds = max(len(row["seeds"]) for row in found["rows"])
    errors = f"over {seeds} seeds (the base: over items)" if seeds > 1 else "over the items (one seed)"
    lines = [_HEAD.format(errors=errors, n=found["n"]["tool_seen"])]
    for row in found["rows"]:
        cells = " | ".join(_cell(row[key]) for key in _KEYS)
        lines.append(f"| {row['label']} | {cells} | {row['seconds']:.0f} |\n")
    if found["differences"]:
        lines.append(
            "\n## Paired differences over the seeds, in points\n\n| difference | tools | general |\n|---|---|---|\n"
        )
        lines += [
            f"| {one['row']} minus {one['minus']} | {_cell(one['tools'])} | {_cell(one['general'])} |\n"
            for one in found["differences"]
        ]
    if found["trials"]:
        lines.append(
            "\n## Trials\n\nOne seed, on the validation half, which shares no item with the test half. A trial is "
            "worth the mean of tools and general.\nThe best one's settings are those of the row above.\n\n"
            "| method | settings | worth |\n|---|---|---|\n"
        )
    for name, trials in found["trials"].items():
        lines += [f"| {name} | `{' '.join(one['options'])}` | {one['worth']:.1f} |\n" for one in trials]
    return "".join(lines)


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
