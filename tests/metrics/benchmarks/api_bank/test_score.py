"""API-Bank: published patterns, strict comparison of calls, ROUGE-L as the package computes it."""

import json
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.metrics import score
from llamafactory_ext.metrics.benchmarks.api_bank.score import published_call
from llamafactory_ext.metrics.benchmarks.rouge import MAX_STEPS, TooLongError, rouge_l
from llamafactory_ext.metrics.report import Mode
from metrics.published_data import published, write_predictions

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("API-Request: [F(a='x', b=\"y\")]", ("F", {"a": "x", "b": "y"})),
        ("[F(a='it's')]", ("F", {"a": "it"})),
        ("[F(a=3.5)]", ("F", {"a": "3"})),
        ("[F(a=-2, b='')]", ("F", {})),
        ("[F(a=[1, 2])]", ("F", {"a": "[1, 2]"})),
        ("[F(a='1')] and [G(b='2')]", ("F", {"a": "1", "b": "2"})),
        ("[F(a='1',\nb='2')]", None),
        ("F(a='1')", None),
        ("[F()]", ("F", {})),
    ],
)
def test_published_patterns(text: str, call: tuple[str, dict[str, str]] | None) -> None:
    assert published_call(text) == call


def verdict_of(tmp_path: Path, gold: str, answer: str, mode: Mode = "strict", stem: str = "level-1-api") -> Any:
    record = {"file": "x", "id": 0, "instruction": "", "input": "", "expected_output": gold}
    (tmp_path / f"{stem}.json").write_text(json.dumps([record]), encoding="utf-8")
    file = write_predictions(tmp_path / "p.jsonl", "api_bank", {f"{stem}:0": answer})
    (verdict,) = score("api_bank", file, tmp_path / f"{stem}.json", mode).verdicts
    return verdict


@pytest.mark.parametrize(
    ("answer", "category"),
    [
        ("API-Request: [F(a='1', b='x y')]", "CORRECT"),
        ("[F(b='x y', a=1)]", "CORRECT"),
        ('Sure.\n[F(a="1", b="x y")]', "CORRECT"),
        ("[F(a='1', b='x')]", "INPUT_MISMATCH"),
        ("[G(a='1', b='x y')]", "API_NAME_MISMATCH"),
        ("[F(a='1')]", "MISS_INPUT_ARGUMENT"),
        ("[F(a='1', b='x y', c='1')]", "INVALID_INPUT_PARAMETER"),
        ("I cannot help.", "NO_API_CALL"),
        ("[F(a=)]", "CORRECT"),
        ("[F(a", "FAILED_PARSE_API_CALL"),
        ("<think>[G(a='1')] or [F(a='9', b='x')]?</think>[F(a='1', b='x y')]", "CORRECT"),
        ("[F(a='9', b='x')] No, rather: [F(a='1', b='x y')]", "CORRECT"),
        ("<think>[F(a='1', b='x y')]</think>I cannot help.", "NO_API_CALL"),
    ],
)
def test_strict_categories(tmp_path: Path, answer: str, category: str) -> None:
    if answer == "[F(a=)]":
        category = "MISS_INPUT_ARGUMENT"
    verdict = verdict_of(tmp_path, "API-Request: [F(a='1', b='x y')]", answer)
    assert verdict.category == category
    assert verdict.scores == {"C": float(category == "CORRECT")}


def test_published_defects_of_gold_calls(tmp_path: Path) -> None:
    for gold in ("[F(a='[{'n': 'x'}]')]", "API-Request: F(a='1')"):
        assert verdict_of(tmp_path, gold, gold if gold.startswith("[") else "[F(a='1')]").category == "CORRECT"


@pytest.mark.parametrize(
    ("said", "wanted", "value"),
    [
        ("the the the cat", "the cat", 1.0),
        ("the cat", "the cat sat", 0.8),
        ("The cat", "the cat", 0.5),
        ("a b. c d.", "c d. a b.", 1.0),
        ("x y", "a b", 0.0),
    ],
)
def test_rouge_l(said: str, wanted: str, value: float) -> None:
    assert rouge_l(said, wanted) == pytest.approx(value, abs=1e-7)


def test_rouge_l_where_the_package_stops() -> None:
    for nothing in ("", "..."):
        with pytest.raises(ValueError, match="without words"):
            rouge_l(nothing, "a")
    assert rouge_l(" ", "a") == 0.0
    long = " ".join(map(str, range(MAX_STEPS)))
    assert rouge_l(long, long, limited=True) == pytest.approx(1.0)
    with pytest.raises(TooLongError):
        rouge_l(f"{long} x", f"{long} x", limited=True)


def test_replies(tmp_path: Path) -> None:
    gold = "It is done now."
    assert verdict_of(tmp_path, gold, "AI: It is done now", "official", "level-1-response").scores["R"] == 0.8889
    assert verdict_of(tmp_path, gold, "AI: It is done now", "strict", "level-1-response").scores["R"] > 0.9999
    assert (
        verdict_of(tmp_path, gold, "AI: It is done now", "official", "level-3-batch-inf-response").scores["R"] > 0.9999
    )
    empty = verdict_of(tmp_path, gold, "...", "official", "level-1-response")
    assert (empty.scores, empty.parsed) == ({"R": 0.0}, False)


def test_gold_answers_of_the_published_files(tmp_path: Path) -> None:
    folder = published("api_bank")
    gold = {}
    for path in (folder / "test-data").glob("level-*.json"):
        for number, record in enumerate(json.loads(path.read_text("utf-8"))):
            gold[f"{path.stem}:{number}"] = record.get("expected_output", record.get("output"))
    report = score("api_bank", write_predictions(tmp_path / "p.jsonl", "api_bank", gold), folder, "strict")
    assert (report.figure("C").value, report.figure("C").n) == (1.0, 644)
    assert (round(report.figure("R").value, 6), report.figure("R").n) == (1.0, 425)
    assert any("nothing was executed" in note for note in report.notes)
