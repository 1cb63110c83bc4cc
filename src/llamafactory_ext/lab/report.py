"""The demo's results as a table on the terminal and as a picture."""

from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.table import Table

COLUMNS = {
    "tool_seen": "tools seen",
    "tool_unseen": "tools unseen",
    "math": "math",
    "code": "code",
    "facts": "facts",
    "instructions": "instructions",
}
_COLOURS = ("#4c72b0", "#55a3c4", "#8c8c8c", "#b5b5b5", "#c9a66b", "#d5693c")

Row = dict[str, Any]


def print_table(rows: list[Row], console: Console) -> None:
    """Print exact match in percent with its standard error, one row per method; n stands in the header."""
    table = Table(title="Exact match on held-out items, % ± standard error")
    table.add_column("method")
    for key, title in COLUMNS.items():
        table.add_column(f"{title}\nn={rows[0]['scores'][key]['n']}", justify="right")
    table.add_column("general\nmean", justify="right")
    table.add_column("seconds", justify="right")
    for row in rows:
        cells = [
            f"{100 * row['scores'][key]['accuracy']:.1f} ± {100 * row['scores'][key]['standard_error']:.1f}"
            for key in COLUMNS
        ]
        table.add_row(row["label"], *cells, f"{100 * row['general']:.1f}", f"{row['training_seconds']:.0f}")
    console.print(table)


def draw_chart(rows: list[Row], path: Path | IO[bytes]) -> None:
    """Draw one group of bars per set, one bar per method, with standard errors; the base model is the dashed line."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    base, trained = rows[0], rows[1:]
    figure, axes = pyplot.subplots(figsize=(10, 4.5), dpi=150)
    width = 0.8 / len(trained)
    for index, row in enumerate(trained):
        colour = _COLOURS[-1] if row["name"] == "citi" else _COLOURS[index]
        places = [group - 0.4 + width * (index + 0.5) for group in range(len(COLUMNS))]
        heights = [100 * row["scores"][key]["accuracy"] for key in COLUMNS]
        errors = [100 * row["scores"][key]["standard_error"] for key in COLUMNS]
        axes.bar(places, heights, width * 0.92, yerr=errors, color=colour, label=row["label"], ecolor="#444444")
    for group, key in enumerate(COLUMNS):
        before = 100 * base["scores"][key]["accuracy"]
        label = "before training" if group == 0 else None
        axes.hlines(before, group - 0.44, group + 0.44, colors="black", linestyles="--", linewidth=1.2, label=label)
    names = [f"{title}\n(n={base['scores'][key]['n']})" for key, title in COLUMNS.items()]
    axes.set_xticks(range(len(COLUMNS)), names)
    axes.set_ylabel("exact match, %")
    axes.set_ylim(0, 104)
    axes.set_title("Tool calls and general abilities of the tiny model after each method", fontsize=11)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncol=3, frameon=False)
    figure.savefig(path, bbox_inches="tight")
    pyplot.close(figure)
