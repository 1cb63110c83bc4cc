"""Runs of two agents in four cases of the mini world, and reports of judges on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llamafactory_ext.etapp.agents import agent
from llamafactory_ext.etapp.checking import read_acted
from llamafactory_ext.etapp.judge_prompt import CRITERIA
from llamafactory_ext.etapp.judge_reading import Verdict
from llamafactory_ext.etapp.judging import Judged
from llamafactory_ext.etapp.judging import report_of as judged_of
from llamafactory_ext.etapp.mini import load, load_gold
from llamafactory_ext.etapp.run import RunOptions, run
from llamafactory_ext.metrics.report import write_report

SOURCE = load()
CASES = SOURCE.cases[:4]
J = {"model": "j", "temperature": 0.0}


def two_runs(folder: Path) -> Path:
    """Let gold and null act in four cases."""
    for name in ("gold", "null"):
        run(SOURCE, CASES, agent(name, load_gold()), {"model": name}, RunOptions(quiet=True), folder / f"{name}.jsonl")
    return folder


def judged(
    path: Path, score: float = 4, mode: Any = "strict", told: Any = J, cases: int = 4, out: str = "", **given: Any
) -> Path:
    """Write a judge's report; return its path."""
    file, acted = read_acted(SOURCE, path)
    verdict = Verdict(dict.fromkeys(CRITERIA, score), dict.fromkeys(CRITERIA, ()))  # type: ignore[arg-type]
    found = [Judged(one, (verdict,), 1, False) for one in acted[:cases]]
    target = path.with_name(out or f"{path.stem}.judge.json")
    write_report(judged_of(SOURCE, file, found, mode, told, 48, **given), target)
    return target
