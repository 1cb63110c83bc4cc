"""What the real table's JSON holds: rows with n and SE, paired differences, trials, and what was not run."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from .measure import NLL, sizes
from .rows import KINDS, NAMES, Row, general_of, tools_of, worth

RIVALS = ("lora_dm", "ft_dm")
MEASURES = tuple(sizes("test", 0))


def summary(
    done: Mapping[str, Sequence[Row]],
    tried: Mapping[str, Sequence[Row | None]],
    counts: Mapping[str, int],
    limit: int,
) -> dict[str, Any]:
    """Return rows in the table's order; of rows that were not run only the name."""
    present = [name for name in NAMES if done.get(name)]
    return {
        "base": "SmolLM2-135M-Instruct",
        "data": dict(counts),
        "n": sizes("test", limit),
        "rows": [_row(name, done[name]) for name in present],
        "not_run": [{"name": name, "label": KINDS[name].label} for name in NAMES if name not in present],
        "differences": [
            _difference("citi", rival, done) for rival in RIVALS if "citi" in present and rival in present
        ],
        "trials": {name: [_trial(row) for row in rows] for name, rows in tried.items() if any(rows)},
    }


def _trial(row: Row | None) -> dict[str, Any]:
    if row is None:
        return {"options": None, "worth": None}
    scores = row["scores"]
    known = KINDS[row["row"]].trials[int(row["name"].rpartition("-")[2])]
    return {
        "options": dict(known),
        "worth": round(worth(row), 4),
        "tools": round(tools_of(scores), 4),
        "general": round(general_of(scores), 4),
        "n": scores["calls"]["n"],
        "seconds": row["training_seconds"],
    }


def _row(name: str, runs: Sequence[Row]) -> dict[str, Any]:
    """Return one row: the mean over its seeds, with the SE over them, or over the items where there is one seed."""
    scores = [row["scores"] for row in runs]
    found: dict[str, Any] = {
        "name": name,
        "label": KINDS[name].label,
        "seeds": [row["seed"] for row in runs if row["seed"] is not None],
        "options": runs[0]["options"],
        "training_seconds": round(statistics.fmean(row["training_seconds"] for row in runs), 1),
        "measuring_seconds": round(statistics.fmean(row["measuring_seconds"] for row in runs), 1),
        "threads": runs[0]["threads"],
    }
    for measure in MEASURES:
        found[measure] = _mean([one[measure] for one in scores])
        for beside in ("name", "parsed", "official", "rules", "by_sum"):
            if all(isinstance(one[measure].get(beside), dict) for one in scores):
                found[f"{measure}_{beside}"] = _mean([one[measure][beside] for one in scores])
    return found


def _mean(figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if len(figures) == 1:
        return {key: figures[0][key] for key in ("mean", "se", "n")}
    values = [float(one["mean"]) for one in figures]
    error = statistics.stdev(values) / math.sqrt(len(values))
    return {"mean": round(statistics.fmean(values), 5), "se": round(error, 5), "n": figures[0]["n"]}


def _difference(name: str, rival: str, done: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """Return paired differences: over the seeds that both have, or over the items of their one common seed."""
    of = {one: {row["seed"]: row for row in done[one]} for one in (name, rival)}
    seeds = sorted(of[name].keys() & of[rival].keys())
    pairs = [(of[name][seed], of[rival][seed]) for seed in seeds]
    found: dict[str, Any] = {"row": name, "minus": rival, "seeds": seeds}
    for measure in MEASURES if pairs else ():
        if len(pairs) > 1:
            gaps = [one["scores"][measure]["mean"] - other["scores"][measure]["mean"] for one, other in pairs]
            found[measure] = {
                "mean": round(statistics.fmean(gaps), 5),
                "se": round(statistics.stdev(gaps) / math.sqrt(len(gaps)), 5),
            }
        else:
            found[measure] = paired(measure, *(row["items"][measure] for row in pairs[0]))
    return found


def paired(measure: str, ours: Sequence[Any], theirs: Sequence[Any]) -> dict[str, Any]:
    """Return the mean difference over the items and its standard error; of NLL in nats per token."""
    if measure in NLL:
        gaps = [one[0] - other[0] for one, other in zip(ours, theirs, strict=True)]
        tokens = [one[1] for one in ours]
        mean = sum(gaps) / sum(tokens)
        spread = sum((gap - mean * count) ** 2 for gap, count in zip(gaps, tokens, strict=True))
        scale = sum(tokens)
    else:
        gaps = [_value(one) - _value(other) for one, other in zip(ours, theirs, strict=True)]
        mean, scale = statistics.fmean(gaps), len(gaps)
        spread = sum((gap - mean) ** 2 for gap in gaps)
    n = len(gaps)
    error = math.sqrt(spread * n / (n - 1)) / scale if n > 1 else None
    return {"mean": round(mean, 5), "se": None if error is None else round(error, 5)}


def _value(item: Any) -> float:
    return float(item[0]) if isinstance(item, list) else float(item)
