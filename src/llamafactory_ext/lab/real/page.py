"""The real table as a page and as a picture; both are made of its JSON alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Any

from .data import CALL_LETTERS, GENERAL_LETTERS
from .measure import LENGTHS, NLL, VALIDATION

_HEAD = """# A real model: SmolLM2-135M-Instruct

Made by `llamafactory-ext lab table --base real` (`make demo-real`) from the runs kept in `docs/real/`. A run sees
each of {calls} calls of API-Bank's published level-3 training data twice. Rows with general data also see up to
{general} examples of GSM8K, Alpaca and NQ-open twice. CITI divides its two passes over the data: half a pass for the
routers, one for the experts and half a pass for the backbone. Its importance pass is extra, and the seconds include
it.

<!-- not run: published data and a model of 540 MB -->
```
llamafactory-ext lab real-model --out runs/smollm2
llamafactory-ext lab table --base real --data DIR --model runs/smollm2 --out docs --runs runs/real
```

"""
_HOW = """
## How it is measured

- Figures are mean ± standard error: over the seeds if a row has several, else over the items. The heads of the
  columns give n.
- Calls are scored by our scorer of API-Bank (`llamafactory-ext score api_bank`) in `strict` mode: a call is right if
  its name and all arguments are. "name" is the share of calls with the right name. The mode `official` executes the
  calls and needs a checkout of API-Bank (`--checkout`).
- Level 3 has two columns, as half of its calls are ToolSearcher with key words that have no single right wording.
  Level 1 has tools that no run was trained on. Replies are scored by ROUGE-L ("R"); no run was trained on replies.
- IFEval is the share of prompts whose rules are all kept, greedily, with at most {ifeval_tokens} new tokens.
  {ifeval_left_out} of its prompts are left out: they ask for a language or a number of sentences, and checking these
  rules needs other models.
- HellaSwag: the chosen ending is the one with the highest log-likelihood per byte, without a chat template. The
  other general figures are the NLL (negative log-likelihood) of held-out answers in nats per token; lower is better.
- Training prompts have at most {call_letters:,} letters (calls) or {general_letters:,} with the answer (general).
  Test prompts have any length. Calls that share the user's words are all in the same part of the data.
- Settings are chosen by equal trials: a quarter of the data, one seed, and a validation half that shares nothing
  with the test ({validation} calls). A trial's "worth" is the mean of tools and general. Tools is the mean of the
  shares of right names and of right calls. General is the mean of HellaSwag and of a token's geometric mean
  probability on the other three.

## What it shows of the paper's Table 3, and what not

The paper (arXiv:2409.13202) trains 8 B models on thousands of calls. This is one model of 135 M parameters with
{calls} calls; its weights were restored from the format Q4_1. The table can show that the methods run on a real
model, and how the rows rank here. It cannot show the size of an effect at 8 B. GSM8K and NQ are measured by NLL, not
by exact match.
"""
_CALL_COLUMNS = (
    ("level_3", "level 3, calls"),
    ("level_3_name", "name"),
    ("level_3_search", "level 3, ToolSearcher"),
    ("level_1", "level 1"),
    ("level_1_name", "name"),
    ("level_3_replies", "replies 3, R"),
    ("level_1_replies", "replies 1, R"),
)
_GENERAL_COLUMNS = (
    *(("ifeval", "IFEval"), ("hellaswag", "HellaSwag")),
    *(("gsm8k", "GSM8K, NLL"), ("nq", "NQ, NLL"), ("alpaca", "Alpaca, NLL")),
)
_DRAWN = ("level_3", "level_3_search", "level_1", "ifeval", "hellaswag", *NLL)


def _cell(name: str, figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "-"
    is_nll = name in NLL
    mean = f"{figure['mean']:.3f}" if is_nll else f"{100 * figure['mean']:.1f}"
    if figure["se"] is None:
        return mean
    return f"{mean} ± {figure['se']:.3f}" if is_nll else f"{mean} ± {100 * figure['se']:.1f}"


def _counted(column: str, title: str, found: Mapping[str, Any]) -> str:
    return f"{title} (n={found['n'][column]})" if column in found["n"] else title


def _table(found: Mapping[str, Any], columns: Sequence[tuple[str, str]], *, timed: bool = False) -> list[str]:
    heads = [_counted(column, title, found) for column, title in columns]
    heads += ["training, s", "measuring, s"] if timed else []
    lines = [f"| row | {' | '.join(heads)} |\n", f"|---|{'---|' * len(heads)}\n"]
    for row in found["rows"]:
        cells = [_cell(column, row.get(column)) for column, _ in columns]
        cells += [f"{row['training_seconds']:.0f}", f"{row['measuring_seconds']:.0f}"] if timed else []
        lines.append(f"| {row['label']} | {' | '.join(cells)} |\n")
    lines += [f"| {one['label']} | not run |{' |' * (len(heads) - 1)}\n" for one in found["not_run"]]
    return lines


def page(found: Mapping[str, Any]) -> str:
    """Return the page: both tables, paired differences, trials, and how it was measured."""
    data = found["data"]
    lines = [_HEAD.format(**data)]
    if found["not_run"]:
        names = ", ".join(one["label"] for one in found["not_run"])
        lines.append(f"**Not run yet: {names}.** The command above runs what is missing.\n\n")
    lines.append("## Tools\n\nPer cent; higher is better.\n\n")
    lines += _table(found, _CALL_COLUMNS)
    official = [(f"{key}_official", title) for key, title in _CALL_COLUMNS if _has(found, f"{key}_official")]
    if official:
        lines.append("\nThe published evaluator's verdicts (`official`):\n\n")
        lines += _table(found, official)
    lines.append("\n## General abilities\n\n")
    lines += _table(found, _GENERAL_COLUMNS, timed=True)
    if found["rows"]:
        lines.append("\n![Each row's figures with standard errors](real.png)\n")
    if found["differences"]:
        lines += _differences(found["differences"])
    if found["trials"]:
        lines += _trials(found["trials"])
    constants = {"call_letters": CALL_LETTERS, "general_letters": GENERAL_LETTERS, "validation": VALIDATION["calls"]}
    return "".join([*lines, _HOW.format(**data, **constants, ifeval_tokens=LENGTHS["ifeval"])])


def _has(found: Mapping[str, Any], column: str) -> bool:
    return any(column in row for row in found["rows"])


def _differences(differences: Sequence[Mapping[str, Any]]) -> list[str]:
    columns = [column for column, _ in (*_CALL_COLUMNS, *_GENERAL_COLUMNS) if column in differences[0]]
    titles = dict((*_CALL_COLUMNS, *_GENERAL_COLUMNS))
    lines = [
        "\n## Paired differences\n\nPoints, or nats per token. The standard error is over the pairs: over seeds, "
        "or over items if there is one seed.\n\n",
        f"| difference | {' | '.join(titles[column] for column in columns)} |\n",
        f"|---|{'---|' * len(columns)}\n",
    ]
    for one in differences:
        cells = " | ".join(_cell(column, one.get(column)) for column in columns)
        lines.append(f"| {one['row']} minus {one['minus']} | {cells} |\n")
    return lines


def _trials(trials: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    lines = ["\n## Trials\n\n| row | settings | tools | general | worth |\n|---|---|---|---|---|\n"]
    for name, tried in trials.items():
        for one in tried:
            if one["options"] is None:
                lines.append(f"| {name} | not run | | | |\n")
                continue
            settings = " ".join(f"{key}={value}" for key, value in one["options"].items())
            figures = " | ".join(f"{100 * one[key]:.1f}" for key in ("tools", "general", "worth"))
            lines.append(f"| {name} | `{settings}` | {figures} |\n")
    return lines


def draw(found: Mapping[str, Any], file: IO[bytes]) -> None:
    """Draw a small chart for each figure: one bar a row, with standard errors."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    titles = {**dict(_CALL_COLUMNS), **dict(_GENERAL_COLUMNS)}
    figure, grid = pyplot.subplots(2, 4, figsize=(13, 5.5), dpi=120, layout="constrained", sharey=True)
    labels = [row["name"] for row in found["rows"]]
    for axes, name in zip(grid.flat, _DRAWN, strict=True):
        for place, row in enumerate(found["rows"]):
            scale = 1 if name in NLL else 100
            error = (row[name]["se"] or 0) * scale
            color = "#d5693c" if row["name"] == "citi" else "#8d99ae" if row["name"] == "base" else "#2e6f95"
            axes.barh(place, row[name]["mean"] * scale, xerr=error, color=color, height=0.7)
        axes.set_title(titles[name] + (" (lower is better)" if name in NLL else ", %"), fontsize=9)
        axes.set_yticks(range(len(labels)), labels)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    if labels:
        grid[0, 0].invert_yaxis()
    figure.savefig(file, format="png")
    pyplot.close(figure)
