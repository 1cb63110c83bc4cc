"""RoTBench's official verdicts are those of its own evaluator on changed predictions of both turns.

LLAMAFACTORY_EXT_ROTBENCH names a checkout of github.com/Junjie-Ye/RoTBench.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from llamafactory_ext.metrics import score
from llamafactory_ext.metrics.answers import REWRITTEN
from llamafactory_ext.metrics.references import read_references
from metrics.benchmarks.changes import REACT, kinds_of, mixed
from metrics.benchmarks.published_checkouts import checkout, undocumented
from metrics.published_data import write_predictions
from processes import run

LEVELS = ("clean", "slight", "medium", "heavy", "union")
CEILINGS = {
    "First_Turn": {"clean": 92.38, "slight": 92.38, "medium": 92.38, "heavy": 95.24, "union": 92.38},
    "Third_Turn": {"clean": 95.71, "slight": 95.71, "medium": 95.71, "heavy": 97.86, "union": 98.57},
}
DOCUMENTED = {REWRITTEN: "a call stated as JSON is put into the benchmark's form first; the report says how many"}


@pytest.fixture
def rotbench() -> Path:
    return checkout("LLAMAFACTORY_EXT_ROTBENCH", "Code/Evaluation/evaluate.py")


def gold(folder: Path) -> dict[str, str]:
    return {
        item.id: item.record["conversations"][-1]["value"][0] for item in read_references("rotbench", folder).items
    }


@pytest.mark.parametrize("turn", CEILINGS)
def test_ceilings(rotbench: Path, tmp_path: Path, turn: str) -> None:
    folder = rotbench / "Data" / turn
    report = score("rotbench", write_predictions(tmp_path / "p.jsonl", "rotbench", gold(folder)), folder)
    prefix = "third-" if turn == "Third_Turn" else ""
    for level, ceiling in CEILINGS[turn].items():
        for name in ("TS", "PI", "CF"):
            assert round(100 * report.figure(f"{name} ({prefix}{level})").value, 2) == ceiling
        assert f"{prefix}{level} {ceiling:.2f}" in report.notes[0]


@pytest.mark.parametrize("turn", CEILINGS)
def test_each_verdict_is_that_of_the_published_evaluator(rotbench: Path, tmp_path: Path, turn: str) -> None:
    folder = rotbench / "Data" / turn
    ours, asked, kinds, ids = [], [], [], []
    for number, (answers, chosen) in enumerate(mixed(gold(folder), REACT, rounds=2, seed=7)):
        predictions = write_predictions(tmp_path / f"{number}.jsonl", "rotbench", answers)
        ours += score("rotbench", predictions, folder).verdicts
        for id_, text in answers.items():
            level, _, place = id_.removeprefix("third-").partition(":")
            asked.append([f"Data/{turn}/{level}.json", int(place), text])
            ids.append(f"round {number}, {id_}: {chosen[id_]}")
        kinds.append(chosen)
    (tmp_path / "answers.json").write_text(json.dumps(asked), encoding="utf-8")
    script = Path(__file__).with_name("published_rotbench.py")
    result = run([sys.executable, str(script), str(rotbench), str(tmp_path / "answers.json")], tmp_path)
    assert result.returncode == 0, result.stderr
    theirs = json.loads(result.stdout)
    differences: dict[str, list[str]] = {}
    for id_, verdict, figures in zip(ids, ours, theirs, strict=True):
        if [verdict.scores[name] for name in ("TS", "PI", "CF")] != (figures or [0, 0, 0]):
            differences.setdefault(verdict.detail or "other", []).append(id_)
    right = sum(figures is not None and figures[2] for figures in theirs)
    print(f"{turn}: {len(ours)} predictions, {len(kinds_of(kinds))} kinds of change, {right} right by CF")
    assert undocumented(differences, DOCUMENTED) == {}
    assert len(ours) >= 1000
    assert len(kinds_of(kinds)) >= 40
    assert 0.1 * len(ours) < right < 0.9 * len(ours)
