"""The report's picture, and its page that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import Final

from .paper import SOURCE, Point
from .report_runs import Run, curves, pooled, relative
from .score import READINGS, Scores

_CSS: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1d2733;"
    "background:#fff}table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;margin:.6rem 0}"
    "th,td{padding:.28rem .6rem;border-bottom:1px solid #d5dbe3;text-align:right}th{background:#f4f6f9}"
    "th:first-child,td:first-child{text-align:left}img{max-width:100%}.wide{overflow-x:auto}"
    "footer,.source{color:#6b7785;font-size:.88rem}"
)


def draw(runs: Sequence[Run], paper: Sequence[Point], out: BytesIO) -> None:
    """Draw accuracy against cost and, beside it, the curves of each run that has steps."""
    from matplotlib import pyplot as plt

    from ..figures.run import NEUTRAL, save
    from ..report.figures import OURS

    steps = {run.label: found for run in runs if (found := curves([run]))}
    widths = [7.0, *[5.0] * len(steps)]
    figure, axes = plt.subplots(
        1, len(widths), figsize=(sum(widths), 5.6), layout="constrained", squeeze=False, width_ratios=widths
    )
    axis = axes[0, 0]
    names: dict[tuple[float, float], list[str]] = {}
    for point in paper:
        names.setdefault((point.cost, point.mean), []).append(point.method)
    for (cost, mean), methods in names.items():
        axis.plot(cost, mean, "s", color=NEUTRAL)
        # A label above the point would lie on that of a point close by.
        is_under = any(0.8 < cost / other < 1.25 and 0 < above - mean < 0.8 for other, above in names)
        place = (6, -10) if is_under else (6, 3)
        axis.annotate(", ".join(methods), (cost, mean), textcoords="offset points", xytext=place, fontsize=8)
    axis.plot([], [], "s", color=NEUTRAL, label=f"paper: {paper[0].group}")
    costs = relative(runs)
    for number, run in enumerate(run for run in runs if run.mean is not None and run.label in costs):
        axis.errorbar(
            costs[run.label],
            run.mean,
            run.error,
            fmt="o",
            capsize=3,
            color=OURS[number % len(OURS)],
            label=run.label,
        )
    axis.set_xscale("log")
    axis.set_xlabel("cost of an item relative to one without knowledge (paper: MACs of the prompt; ours: FLOPs)")
    axis.set_ylabel("mean accuracy, %")
    axis.set_title("Accuracy against cost", loc="left")
    axis.grid(alpha=0.25)
    axis.margins(x=0.18)
    axis.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    for axis, (label, lines) in zip(axes[0, 1:], steps.items(), strict=True):
        for number, (name, points) in enumerate(lines.items()):
            at, values, errors = zip(*points, strict=True)
            axis.errorbar(
                at,
                values,
                [error or 0.0 for error in errors],
                marker="o",
                capsize=3,
                label=name.removeprefix(f"{label}: "),
                color=OURS[number % len(OURS)],
                ls="-" if "bare" in name else "--",
            )
        axis.set_xticks(sorted({int(at) for points in lines.values() for at, _, _ in points}))
        axis.set_ylim(-2, 102)
        axis.set_xlabel("step of training; 0: before")
        axis.set_ylabel("accuracy, %")
        axis.set_title(f"What is internalised: {label}", loc="left")
        axis.grid(alpha=0.25)
        axis.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
    save(figure, out)


def page(runs: Sequence[Run], paper: Sequence[Point], picture: bytes) -> str:
    """Return one page with the picture inside."""
    shares = relative(runs)
    summary = [
        (run.label, _per_cent(run.mean, run.error), _number(run.flops), _number(shares.get(run.label))) for run in runs
    ]
    detailed = [
        (
            run.label,
            one.benchmark,
            str(one.step or "–"),
            "yes" if one.knowledge else "no",
            *(_share(one, name) for name in READINGS),
            f"{one.readings['strict'].n} of {one.n_references}",
            *(
                _number(getattr(one.cost, name) if one.cost else None)
                for name in ("prompt_tokens", "flops", "kv_bytes", "reference_macs")
            ),
        )
        for run in runs
        for one in run.scores
    ]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>SKIntern: accuracy against FLOPs</title><style>{_CSS}</style></head><body>",
        "<h1>SKIntern: accuracy against FLOPs</h1>",
        "<p>Ours are strict readings ± one standard error over items; differences inside two of them say nothing. "
        "The first run named is the unit of our costs, the row without knowledge that of the paper's. Test sets and "
        "models differ unless the labels say otherwise.</p>",
        f'<p><img alt="Accuracy against cost" src="data:image/png;base64,{base64.b64encode(picture).decode()}"></p>',
        _table(("run", "mean, %", "FLOPs an item", "relative"), summary),
    ]
    if detailed:
        heads = (
            "run",
            "benchmark",
            "step",
            "knowledge",
            *(f"{name}, %" for name in READINGS),
            "items",
            "prompt tokens",
            "FLOPs",
            "cache bytes",
            "MACs (published count)",
        )
        parts += ["<h2>Benchmarks</h2>", _table(heads, detailed)]
    for run in runs:
        if len(run.internalised) > 1:
            heads = ("step", "figure", f"% over {len(run.internalised)} runs")
            lines = [
                (f"{at:g}", name, _per_cent(value, error))
                for name, points in pooled(run.internalised).items()
                for at, value, error in points
            ]
            parts += [f"<h2>{escape(run.label)}: mean and standard error over runs</h2>", _table(heads, lines)]
        for measured in run.internalised:
            parts.append(f"<h2>{escape(run.label)}: documentation of tools, seed {measured.seed}</h2>")
            parts += [_table(*measured.table()), _table(*measured.cost_table())]
    parts += [
        "<h2>The paper</h2>",
        f'<p class="source">{escape(SOURCE)}.</p>',
        _table(
            ("method", "mean, %", "relative cost"),
            [(f"{one.group} {one.method}", f"{one.mean:.1f}", f"{one.cost:g}") for one in paper],
        ),
        "<footer>llamafactory-ext skintern report</footer></body></html>\n",
    ]
    return "\n".join(parts)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{escape(head)}</th>" for head in heads) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _share(one: Scores, name: str) -> str:
    reading = one.readings[name]
    return _per_cent(100 * reading.value, None if reading.standard_error is None else 100 * reading.standard_error)


def _per_cent(value: float | None, error: float | None) -> str:
    return "–" if value is None else f"{value:.1f}" + ("" if error is None else f" ± {error:.1f}")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
