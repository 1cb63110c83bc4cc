"""A comparison's figures as tables of texts, which Markdown and the page both show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .kinds import row_of
from .metrics import error_of_mean, mean_and_sd

BASE: Final = "base"
FIGURES: Final = (
    ("ap", "AP"),
    ("bwt", "BWT"),
    ("forgetting", "forgetting"),
    ("plasticity", "plasticity"),
    ("fwt", "FWT"),
    ("general_change", "general change"),
)
EXPLAINED: Final = (
    "AP: mean of the last row; ± is the binomial standard error of the first seed's figure, items taken as "
    "independent, and, behind `sd`, the deviation over seeds. BWT: last row minus diagonal, without the last task. "
    "Forgetting: best earlier score minus the last. Plasticity: mean of the diagonal. FWT: score before a task is "
    "learnt minus the base model's. General change: mean over the general sets after the last task minus the base "
    "model's. The row base is the model before any task; - was not measured. Steps: of the optimiser, in the first "
    "seed's run. Stored: bytes of weights, statistics and training items that have to be kept to answer and to learn "
    "the next task."
)
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: over it; empty for the first.
        columns: their heads.
        rows: as many texts each.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Return all tables: figures, learning rates, methods, gates, then every matrix.

    Args:
        result: what `run_plan` returned.
    """
    found = [_figures(result), _searches(result), _methods(result), _gates(result)]
    for name, method in result["methods"].items():
        found += [_matrix(result, run, f"{name}, seed {run['seed']}") for run in method["runs"]]
    return [table for table in found if table.rows]


def bytes_shown(count: float) -> str:
    """Return a number of bytes with its unit, three digits at least."""
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:.0f} {_UNITS[unit]}" if unit == 0 or count >= 100 else f"{count:.3g} {_UNITS[unit]}"


def _figures(result: Mapping[str, Any]) -> Table:
    rows = []
    if result["base"] is not None:
        own = [result["base"][task] for task in result["tasks"]]
        mean = sum(cell["score"] for cell in own) / len(own)
        error = error_of_mean([cell["score"] for cell in own], [cell["n"] for cell in own])
        rows.append((BASE, "-", "-", f"{mean:.3f} ± {error:.3f}", *["-"] * (len(FIGURES) - 1)))
    for name, method in result["methods"].items():
        runs = method["runs"]
        errors = _errors(runs[0], result["base"] or {})
        cells = [_over_seeds([run[key] for run in runs], errors.get(key)) for key, _ in FIGURES]
        steps = sum(step for step in runs[0]["steps"] if step)
        label = name + (f" ({method['share']:.0%} replayed)" if method["share"] else "")
        stored = runs[0].get("stored_bytes")
        rows.append((label, str(steps), "-" if stored is None else bytes_shown(stored), *cells))
    return Table("", ("method", "steps", "stored", *(label for _, label in FIGURES)), tuple(rows))


def _searches(result: Mapping[str, Any]) -> Table:
    rows: list[tuple[str, ...]] = []
    count = 0
    for name, method in result["methods"].items():
        if found := method.get("search"):
            count = len(found["rates"])
            tried = ", ".join(f"{rate}: {score:.3f}" for rate, score in found["rates"].items())
            rows.append((name, f"{found['chosen']:g}", tried, str(found["n"])))
    title = f"Learning rates: {count} trials of each method, scored on validation items of the first task alone"
    return Table(title, ("method", "chosen", "score by rate", "n"), tuple(rows))


def _methods(result: Mapping[str, Any]) -> Table:
    rows = []
    for name, method in result["methods"].items():
        row = row_of(method["kind"], method.get("protect") or "")
        settings = ", ".join(f"{key} {value:g}" for key, value in (method.get("settings") or {}).items())
        kind = method["kind"] + (f", data_protect: {method['protect']}" if method.get("protect") else "")
        rows.append((name, kind, row.what, row.paper or "-", settings or "-"))
    return Table("What was compared", ("method", "kind", "what it is", "source", "settings"), tuple(rows))


def _gates(result: Mapping[str, Any]) -> Table:
    rows = []
    for name, method in result["methods"].items():
        for run in method["runs"]:
            for task, gates in zip(result["tasks"], run.get("gates") or [], strict=False):
                for group, facts in (gates or {}).items():
                    pairs = zip(facts["mean"], facts["sd"], strict=True)
                    low, high = (f"{mean:.3f} sd {sd:.3f}" for mean, sd in pairs)
                    rows.append((name, str(run["seed"]), task, group, low, high))
    columns = ("method", "seed", "after", "first layer", "low rank's gate", "high rank's gate")
    return Table("Gates: mean and deviation over tokens at each task's end", columns, tuple(rows))


def _matrix(result: Mapping[str, Any], run: Mapping[str, Any], title: str) -> Table:
    names = result["tasks"]
    rows = []
    if result["base"] is not None:
        rows.append((BASE, *(_score(result["base"][name]) for name in names)))
    for t, name in enumerate(names):
        rows.append((name, *(_score(run["cells"].get(f"{t},{i}")) for i in range(len(names)))))
    return Table(title, ("after", *names), tuple(rows))


def _score(cell: Mapping[str, Any] | None) -> str:
    return "-" if cell is None else f"{cell['score']:.3f} ± {cell['se']:.3f} (n {cell['n']})"


def _errors(run: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the standard errors of a run's figures over its items, taken as independent; None where a cell lacks."""
    cells, tasks = run["cells"], range(len(run["matrix"]))
    own = [cells.get(f"{i},{i}") for i in tasks]
    last = [cells.get(f"{tasks[-1]},{i}") for i in tasks]
    change = [(cell, base.get(name)) for name, cell in (run.get("general") or {}).items()]
    return {
        "ap": _of_mean([one or other for one, other in zip(last, own, strict=True)]),
        "plasticity": _of_mean(own),
        "bwt": _of_differences([*zip(last, own, strict=True)][:-1]),
        "general_change": _of_differences(change),
    }


def _of_mean(cells: Sequence[Any]) -> float | None:
    known = [cell for cell in cells if cell is not None]
    if not known or len(known) < len(cells):
        return None
    return error_of_mean([cell["score"] for cell in known], [cell["n"] for cell in known])


def _of_differences(pairs: Sequence[tuple[Any, Any]]) -> float | None:
    """Return the standard error of a mean of differences: of as many terms as there are pairs, two cells in each."""
    error = _of_mean([cell for pair in pairs for cell in pair])
    return None if error is None else 2 * error


def _over_seeds(values: Sequence[float | None], error: float | None) -> str:
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return "-"
    mean, sd = mean_and_sd(known)
    text = f"{mean:.3f}" + (f" ± {error:.3f}" if error is not None else "")
    return text + (f" sd {sd:.3f}" if sd is not None else "")
