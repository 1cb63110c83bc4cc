"""Tell whether a file in the real table's folder is what a run of ours leaves there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...checkpoint.atomic import read_json
from ...errors import DataError
from .measure import NLL, sizes
from .rows import Job, Row

_BESIDE = ("name", "parsed", "official", "rules", "by_sum")
_MOST = 1e12


def result_in(path: Path, job: Job, wanted: str) -> Row | None:
    """Return the result of an earlier run that was made of the same; None where it was made of something else.

    Args:
        path: its file.
        job: the run.
        wanted: the hash of what the run would be made from.

    Raises:
        CheckpointError: the file cannot be read.
        DataError: its hash is right, and a figure is missing or of another kind.
    """
    row = read_json(path, "result of an earlier run")
    if not isinstance(row, dict) or row.get("made_from") != wanted:
        return None
    if fault := _fault(row, job):
        raise DataError(f"{path} is no result of an earlier run: {fault}; move it away, or remove it.")
    return row


def _fault(row: Mapping[str, Any], job: Job) -> str:
    """Name the first part that no run leaves there."""
    for name, value in {"name": job.name, "row": job.kind.name, "half": job.half, "seed": job.seed}.items():
        if row.get(name) != value:
            return f"{name} is not {value}"
    for name in ("training_seconds", "measuring_seconds", "threads"):
        if not _is_number(row.get(name), 0):
            return f"{name} is no number of at least 0"
    for name in ("options", "scores", "items"):
        if not isinstance(row.get(name), dict):
            return f"{name} is no object"
    for name in sizes(job.half, 0):
        if fault := _score_fault(name, row["scores"].get(name), row["items"].get(name)):
            return f"scores and items of {name}: {fault}"
    return ""


def _score_fault(name: str, score: Any, items: Any) -> str:
    if not isinstance(score, dict):
        return "there is no score"
    figures = [score, *(score[key] for key in _BESIDE if score.get(key) is not None)]
    figures += [score.get("name")] if name == "calls" else []
    if not all(_is_figure(figure, _MOST if name in NLL else 1) for figure in figures):
        return "its score has no n, mean and standard error"
    if not isinstance(items, list) or len(items) != score["n"]:
        return f"its items are no list of {score['n']}"
    if not all(_is_pair(item) if name in NLL else _is_value(item) for item in items):
        return "an item is neither a number nor two"
    return ""


def _is_figure(figure: Any, most: float) -> bool:
    return (
        isinstance(figure, dict)
        and type(figure.get("n")) is int
        and 0 < figure["n"] < _MOST
        and _is_number(figure.get("mean"), 0, most)
        and (figure.get("se") is None or _is_number(figure["se"], 0))
    )


def _is_value(item: Any) -> bool:
    parts = item if isinstance(item, list) else [item]
    return len(parts) in (1, 2) and all(_is_number(part, 0) for part in parts)


def _is_pair(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 2 and _is_number(item[0], 0) and _is_number(item[1], 1)


def _is_number(value: Any, least: float, most: float = _MOST) -> bool:
    return type(value) in (int, float) and not math.isnan(value) and least <= value <= most
