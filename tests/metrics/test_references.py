"""The published files: ids, default files, and what is said of files that are none."""

import json
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.metrics import BENCHMARKS, read_references
from metrics.published_data import SHARED, published

pytestmark = pytest.mark.fast

PUBLISHED = {
    "api_bank": ("api_bank", 1069, "level-1-api:0"),
    "toolalpaca": ("toolalpaca", 114, "Nager.Date:0"),
    "rotbench": ("rotbench", 315, "clean:0"),
    "bfcl": ("bfcl_v3", 200, "exec_multiple_0"),
    "bfcl_ast": ("bfcl_v3", 600, "multiple_0"),
    "bfcl_multi_turn": ("bfcl_multi_turn", 800, "multi_turn_base_0"),
    "tooleyes": ("tooleyes", 382, "tooleyes:0"),
    "gsm8k": ("gsm8k", 1319, "test:0"),
    "humaneval": ("humaneval", 164, "HumanEval/0"),
    "triviaqa": ("nq_open", 3610, "NQ-open:0"),
    "bbh": ("bbh", 6511, "boolean_expressions:0"),
    "agieval": ("agieval", 704, "aqua-rat:0"),
    "arc": ("arc", 2376, "ARC-Easy-Test:0"),
}


def test_every_benchmark_has_a_case_here() -> None:
    assert set(PUBLISHED) == set(BENCHMARKS)


@pytest.mark.parametrize("benchmark", PUBLISHED)
def test_published_files(benchmark: str) -> None:
    folder, count, first = PUBLISHED[benchmark]
    references = read_references(benchmark, published(folder))
    assert (len(references.items), references.items[0].id) == (count, first)
    assert references == read_references(benchmark, SHARED / folder)


FOREIGN: dict[str, tuple[str, Any]] = {
    "api_bank": ("level-1-api.json", {"instruction": "", "input": 1}),
    "toolalpaca": (
        "eval_real.json",
        {"Name": "A", "NLDocumentation": "", "Instructions": ["x"], "Golden_Answers": [[{"Action": "f"}]]},
    ),
    "rotbench": ("clean.json", {"conversations": "x", "scenario": "TG"}),
    "bfcl": ("BFCL_v3_exec_simple.json", {"id": "exec_0", "question": [], "function": []}),
    "bfcl_ast": ("BFCL_v3_simple.json", {"id": 0, "question": [], "function": []}),
    "bfcl_multi_turn": (
        "BFCL_v4_multi_turn_base.json",
        {"id": "multi_turn_base_0", "question": [], "initial_config": [], "involved_classes": []},
    ),
    "tooleyes": ("scenario_data_zero_processed.json", ["x"]),
    "gsm8k": ("test.jsonl", {"question": "?", "answer": 1}),
    "humaneval": ("HumanEval.jsonl", {"task_id": "HumanEval/0", "prompt": ""}),
    "triviaqa": ("dev.jsonl", {"question": "?", "answer": "text"}),
    "bbh": ("word_sorting.json", {"input": 1, "target": "a b"}),
    "agieval": ("sat-math.jsonl", {"question": "?", "options": [], "label": 1}),
    "arc": ("ARC-Easy-Test.jsonl", {"question": 3, "answerKey": "A"}),
}


@pytest.mark.parametrize("benchmark", FOREIGN)
def test_foreign_records_are_named(benchmark: str, tmp_path: Path) -> None:
    name, record = FOREIGN[benchmark]
    answers = tmp_path / "possible_answer" / name
    answers.parent.mkdir()
    answers.write_text('{"id": "a", "ground_truth": []}\n', encoding="utf-8")
    lines = name.endswith(".jsonl") or name.startswith("BFCL")
    (tmp_path / name).write_text(json.dumps(record if lines else [record]) + "\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_references(benchmark, tmp_path)
    assert f"{tmp_path / name}, " in caught.value.message


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_bytes(b'{"question": "\xff"}\n')
    with pytest.raises(DataError, match="line 1 column 15: not UTF-8"):
        read_references("gsm8k", tmp_path)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="There is no benchmark 'chess'"):
        read_references("chess", tmp_path)
    with pytest.raises(DataError, match="there are no references here"):
        read_references("rotbench", tmp_path / "none")
    with pytest.raises(DataError, match="holds no file of rotbench"):
        read_references("rotbench", tmp_path)


def test_the_hash_follows_the_content(tmp_path: Path) -> None:
    line = '{"question": "?", "answer": "#### 1"}\n'
    hashes = set()
    for content in (line, line, line * 2):
        (tmp_path / "test.jsonl").write_text(content, encoding="utf-8")
        hashes.add(read_references("gsm8k", tmp_path).sha256)
    assert len(hashes) == 2
