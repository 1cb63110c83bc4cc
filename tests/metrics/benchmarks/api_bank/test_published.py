"""API-Bank's official verdicts are those of its own evaluators, where a machine has a checkout of it.

LLAMAFACTORY_EXT_API_BANK names the checkout, with test-data of commit 1d76900 (later commits lack level 2's).
LLAMAFACTORY_EXT_EMBEDDER names a sentence-transformers model; without one, ToolSearcher's items are left out.
"""

import importlib.util
import json
import os
import re
import sys
from pathlib import Path

import pytest

from llamafactory_ext.metrics import Verdict, score
from metrics.published_data import write_predictions
from processes import run

# With gold answers, and without the 45 and 114 items of ToolSearcher: items, and how many of them are right.
CEILINGS = {"level-1-api": (399, 338), "level-2-api": (90, 80), "level-3-batch-inf": (131, 121)}
EMBEDDER = os.environ.get("LLAMAFACTORY_EXT_EMBEDDER") or None


@pytest.fixture
def checkout() -> Path:
    root = os.environ.get("LLAMAFACTORY_EXT_API_BANK")
    if not root:
        pytest.skip("LLAMAFACTORY_EXT_API_BANK names no checkout of API-Bank")
    for file in CEILINGS:
        if not (Path(root) / "test-data" / f"{file}.json").exists():
            pytest.skip(f"test-data/{file}.json is missing: take test-data from the repository's commit 1d76900")
    return Path(root)


def gold_answers(checkout: Path) -> dict[str, str]:
    found = {}
    for file in CEILINGS:
        records = json.loads((checkout / "test-data" / f"{file}.json").read_text("utf-8"))
        said = "output" if "output" in records[0] else "expected_output"
        found |= {f"{file}:{number}": record[said] for number, record in enumerate(records)}
    return found


def changed_answers(checkout: Path) -> dict[str, str]:
    """Of six answers one is another item's, one lacks its last parameter, one has another digit, and so on."""
    gold = gold_answers(checkout)
    found, before = {}, ""
    for number, (id_, answer) in enumerate(gold.items()):
        found[id_] = (
            before,
            re.sub(r",\s*\w+='[^']*'\)", ")", answer),
            re.sub(r"\d(?=\D*$)", lambda digit: str((int(digit[0]) + 1) % 10), answer),
            re.sub(r"(\w+)=", r"\1_x=", answer, count=1),
            answer.upper() if number % 12 == 4 else answer.replace("'", '"'),
            answer.replace(", ", ",") + " done",
        )[number % 6]
        before = answer
    return found


def verdicts(checkout: Path, answers: dict[str, str], folder: Path, embedder: str | None) -> dict[str, list[Verdict]]:
    found = {}
    for file in CEILINGS:
        own = {id_: answer for id_, answer in answers.items() if id_.startswith(f"{file}:")}
        predictions = write_predictions(folder / f"{file}.jsonl", "api_bank", own)
        references = checkout / "test-data" / f"{file}.json"
        report = score("api_bank", predictions, references, checkout=checkout, embedder=embedder)
        found[file] = [verdict for verdict in report.verdicts if "C" in verdict.scores]
    return found


def test_published_ceiling(checkout: Path, tmp_path: Path) -> None:
    found = verdicts(checkout, gold_answers(checkout), tmp_path, None)
    assert {file: (len(own), sum(verdict.scores["C"] for verdict in own)) for file, own in found.items()} == CEILINGS


@pytest.mark.parametrize("answers", [gold_answers, changed_answers], ids=["gold", "changed"])
def test_each_verdict_is_that_of_the_published_evaluators(checkout: Path, tmp_path: Path, answers) -> None:
    for package in ("nltk", "rank_bm25", "rouge"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package}, which the published evaluators need, is not installed: pip install it")
    given = answers(checkout)
    (tmp_path / "answers.json").write_text(json.dumps(given), encoding="utf-8")
    script = Path(__file__).with_name("published.py")
    words = [
        sys.executable,
        str(script),
        str(checkout),
        str(tmp_path / "answers.json"),
        *([EMBEDDER] * bool(EMBEDDER)),
    ]
    result = run(words, tmp_path)
    assert result.returncode == 0, result.stderr
    theirs = json.loads(result.stdout)
    ours = {
        verdict.id: bool(verdict.scores["C"])
        for own in verdicts(checkout, given, tmp_path, EMBEDDER).values()
        for verdict in own
    }
    assert len(ours) == (779 if EMBEDDER else 620)
    assert {id_: theirs[id_] for id_ in ours} == ours
    assert 0.2 * len(ours) < sum(ours.values()) < 0.9 * len(ours)
