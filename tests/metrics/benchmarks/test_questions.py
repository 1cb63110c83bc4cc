"""GSM8K's final number and TriviaQA's exact match."""

import json
from pathlib import Path

import pytest

from llamafactory_ext.errors import DataError
from llamafactory_ext.metrics import score
from metrics.published_data import published, write_predictions


@pytest.mark.parametrize(
    ("answer", "official", "strict"),
    [
        ("5 and 7 make 12, so #### 1234", 1, 1),
        ("The answer is 1,234.", 0, 1),
        ("It is 1234.0", 1, 1),
        ("1234\nQuestion: what are 3 and 4?", 1, 1),
        ("1234 is what I get from 2 numbers", 0, 0),
        ("#### 1234 as 2 and 3 show", 0, 1),
        ("-1234", 0, 0),
        ("none", 0, 0),
    ],
)
def test_gsm8k(tmp_path: Path, answer: str, official: int, strict: int) -> None:
    line = json.dumps({"question": "?", "answer": "It is 1200+34=<<1200+34=1234>>1234.\n#### 1,234"})
    (tmp_path / "test.jsonl").write_text(line + "\n", encoding="utf-8")
    file = write_predictions(tmp_path / "p.jsonl", "gsm8k", {"test:0": answer})
    assert score("gsm8k", file, tmp_path / "test.jsonl", "official").figure("GSM").value == official
    assert score("gsm8k", file, tmp_path / "test.jsonl", "strict").figure("GSM").value == strict


@pytest.mark.parametrize(
    ("answer", "official", "strict"),
    [
        ("the  Apollo-11!", 1, 1),
        ("The answer is: Apollo 11.", 0, 1),
        ("Apollo 11\nBecause it landed.", 0, 1),
        ("Apollo 12", 0, 0),
        ("", 0, 0),
    ],
)
def test_triviaqa(tmp_path: Path, answer: str, official: int, strict: int) -> None:
    path = tmp_path / "dev.jsonl"
    path.write_text(json.dumps({"question": "?", "answer": ["Eagle", "Apollo 11"]}) + "\n", encoding="utf-8")
    file = write_predictions(tmp_path / "p.jsonl", "triviaqa", {"dev:0": answer})
    assert score("triviaqa", file, path, "official").figure("TQA").value == official
    assert score("triviaqa", file, path, "strict").figure("TQA").value == strict


def test_foreign_answers(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text('{"question": "?", "answer": "twelve"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="test:0"):
        score("gsm8k", write_predictions(tmp_path / "p.jsonl", "gsm8k", {"test:0": "12"}), path)
    path.write_text('{"question": "?", "answer": []}\n', encoding="utf-8")
    with pytest.raises(DataError, match="test:0"):
        score("triviaqa", write_predictions(tmp_path / "p.jsonl", "triviaqa", {"test:0": "12"}), path)


def test_gold_answers_of_the_published_files(tmp_path: Path) -> None:
    for name, folder, file, stem in (
        ("gsm8k", "gsm8k", "test.jsonl", "test"),
        ("triviaqa", "nq_open", "NQ-open.dev.jsonl", "NQ-open"),
    ):
        lines = (published(folder) / file).read_text("utf-8").splitlines()
        golds = [json.loads(line)["answer"] for line in lines]
        answers = {f"{stem}:{i}": gold if isinstance(gold, str) else gold[0] for i, gold in enumerate(golds)}
        predictions = write_predictions(tmp_path / "p.jsonl", name, answers)
        assert score(name, predictions, published(folder), "strict").figures[0].value == 1.0
