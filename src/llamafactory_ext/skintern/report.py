"""Accuracy against FLOPs beside the paper's points, and the curve of what is internalised, as files.

`report.json` has all figures, `report.png` both pictures, `report.html` is one page that needs nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from ..checkpoint.own import claim, claim_plain, own_file, own_json, own_text
from ..errors import DataError, OptionError
from .internalised import FILE as INTERNALISED
from .internalised import Internalised, read_internalised
from .paper import GROUPS, SOURCE, Point, beside
from .report_page import draw, page
from .report_runs import Run, relative
from .score import Scores, read_scores

FILES: Final = ("report.json", "report.png", "report.html")


def read_runs(words: Sequence[str]) -> list[Run]:
    """Read LABEL=PATH[,PATH...], or PATH alone: files of `skintern score`, folders of them, or of training.

    Raises:
        OptionError: nothing named, or a label twice.
        DataError: a path without figures.
    """
    if not words:
        raise OptionError(
            "skintern report needs figures: llamafactory-ext skintern report LABEL=PATH ... --out DIR; a path is a "
            "file of `skintern score`, a folder of such files, or the output_dir of a run with skintern_measure."
        )
    runs: dict[str, Run] = {}
    for word in words:
        label, named, paths = word.partition("=")
        if not named:
            label, paths = Path(word).stem, word
        if label in runs:
            raise OptionError(f"the label {label!r} stands twice; give each run its own: LABEL=PATH.")
        scores: list[Scores] = []
        internalised: list[Internalised] = []
        for path in map(Path, paths.split(",")):
            for file in _files(path):
                if _kind(file) == "internalised":
                    internalised.append(read_internalised(file))
                else:
                    scores.append(read_scores(file))
        _check_once(label, scores)
        runs[label] = Run(label, tuple(scores), tuple(internalised))
    return list(runs.values())


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if (path / INTERNALISED).is_file():
        return [path / INTERNALISED]
    found = sorted(file for file in path.glob("*.json") if file.name != ".written.json") if path.is_dir() else []
    if not found:
        raise DataError(f"{path} has no figures; name a file of `skintern score`, or a folder of them.")
    return [file for file in found if _kind(file)] or found


def _kind(path: Path) -> str:
    """Return what a file says it is; "" for another one."""
    try:
        record = json.loads(path.read_text("utf-8"))
        kind = str(record.get("kind", ""))
    except (OSError, ValueError, AttributeError, RecursionError):
        return ""
    return "internalised" if kind == "skintern internalised" else "scores" if kind == "skintern scores" else ""


def _check_once(label: str, scores: Sequence[Scores]) -> None:
    seen = set()
    for one in scores:
        key = (one.benchmark, one.step, one.knowledge)
        if key in seen:
            raise DataError(
                f"{label}: two files are of {one.benchmark}, step {one.step}; say which steps they are of with "
                "--step and --knowledge of `skintern score`, or give them labels of their own."
            )
        seen.add(key)


def write(runs: Sequence[Run], folder: Path, group: str) -> list[Path]:
    """Write the files; return them.

    Raises:
        OptionError: the group is none of the paper's.
    """
    if group not in GROUPS:
        raise OptionError(f"--group={group!r}: choose one of {', '.join(GROUPS)}.")
    paths = [folder / name for name in FILES]
    claim_plain(folder)
    claim(paths)
    paper = beside(group)
    picture = BytesIO()
    draw(runs, paper, picture)
    with own_file(paths[1]) as staged:
        staged.write_bytes(picture.getvalue())
    own_json(paths[0], to_json(runs, paper))
    own_text(paths[2], page(runs, paper, picture.getvalue()))
    return paths


def to_json(runs: Sequence[Run], paper: Sequence[Point]) -> dict[str, Any]:
    """Return all figures."""
    shares = relative(runs)
    return {
        "runs": [
            {
                "label": run.label,
                "mean": run.mean,
                "standard_error": run.error,
                "flops": run.flops,
                "relative_flops": shares.get(run.label),
                "scores": [one.to_json() for one in run.scores],
                "internalised": [one.to_json() for one in run.internalised],
            }
            for run in runs
        ],
        "paper": [
            {"group": point.group, "method": point.method, "mean": point.mean, "relative_flops": point.cost}
            for point in paper
        ],
        "source": SOURCE,
    }
