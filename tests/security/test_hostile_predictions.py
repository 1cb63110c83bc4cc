"""Predictions made to break scorers: each gets a verdict, in either mode, and the report can be written."""

import json
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.metrics import score, write_report
from llamafactory_ext.metrics.report import MODES, Mode
from metrics.benchmarks.test_rotbench import WEATHER, record
from metrics.published_data import write_predictions

pytestmark = pytest.mark.fast

HOSTILE = [
    "",
    " ",
    "\0",
    "...",
    "[" * 50_000,
    "{" * 50_000,
    "(" * 50_000,
    "f(" * 5_000,
    "f(a=" + "-" * 50_000 + "1)",
    "f(a=" + "9" * 6_000 + ")",
    "f(a=9**9**9**9)",
    "f(a=1e999)",
    "f(**{'a': 1})",
    "f(1, 2)",
    "[F(" + "a" * 50_000 + ")]",
    "[F(a='\n')]",
    'Action: weather\nAction Input: {"city": ' + "[" * 50_000,
    'Action: weather\nAction Input: {"city": ' + "9" * 6_000 + "}",
    'Action: weather\nAction Input: {"city": NaN}',
    "Action:",
    "Action Input:",
    "Action Input: {}\nAction: weather",
    "<tool_call>" * 1_000,
    '{"name": "f", "arguments": "' + "x" * 50_000,
    "```python\n" * 100,
    "#### " * 1_000,
    "-" * 50_000,
    "9" * 50_000,
    "١٢٣",
    "\u202e" + "a" * 100,
]
RECORDS: dict[str, tuple[str, dict[str, Any]]] = {
    "rotbench": ("clean.json", record(WEATHER)),
    "bfcl": ("BFCL_v3_exec_simple.json", {"id": "", "question": [], "function": [], "ground_truth": ["f(a=1)"]}),
    "bfcl_ast": (
        "BFCL_v3_simple.json",
        {
            "id": "",
            "question": [],
            "function": [{"name": "f", "parameters": {"properties": {"a": {"type": "integer"}}, "required": ["a"]}}],
        },
    ),
    "api_bank": ("level-1-api.json", {"instruction": "", "input": "", "expected_output": "[F(a='1')]"}),
    "tooleyes": (
        "scenario_data_zero_processed.json",
        {"conversations": record(WEATHER)["conversations"], "path": "", "scenario": "TG"},
    ),
    "gsm8k": ("test.jsonl", {"question": "", "answer": "#### 12"}),
    "triviaqa": ("dev.jsonl", {"question": "", "answer": ["a"]}),
    "bbh": ("word_sorting.json", {"input": "b a", "target": "a b"}),
    "agieval": ("sat-math.jsonl", {"question": "", "options": ["(A)1", "(B)2"], "label": "B"}),
    "arc": (
        "ARC-Easy-Test.jsonl",
        {"question": {"stem": "", "choices": [{"label": "1", "text": "x"}]}, "answerKey": "1"},
    ),
}


# API-Bank's official mode has tests of its own, with a checkout.
CASES = [(name, mode) for name in RECORDS for mode in MODES if (name, mode) != ("api_bank", "official")]


@pytest.mark.parametrize(("benchmark", "mode"), CASES)
def test_every_prediction_gets_a_verdict(benchmark: str, mode: Mode, tmp_path: Path) -> None:
    name, one = RECORDS[benchmark]
    records = [one | {"id": f"id_{number}"} if "id" in one else one for number in range(len(HOSTILE))]
    lines = name.endswith(".jsonl") or name.startswith("BFCL")
    text = "".join(json.dumps(one) + "\n" for one in records) if lines else json.dumps(records)
    (tmp_path / name).write_text(text, encoding="utf-8")
    if benchmark == "bfcl_ast":
        answers = [{"id": one["id"], "ground_truth": [{"f": {"a": [1]}}]} for one in records]
        (tmp_path / "possible_answer").mkdir()
        content = "".join(json.dumps(answer) + "\n" for answer in answers)
        (tmp_path / "possible_answer" / name).write_text(content, encoding="utf-8")
    stem = "tooleyes" if benchmark == "tooleyes" else name.partition(".")[0]
    ids = [one.get("id") if name.startswith("BFCL") else f"{stem}:{number}" for number, one in enumerate(records)]
    file = write_predictions(tmp_path / "p.jsonl", benchmark, dict(zip(map(str, ids), HOSTILE, strict=True)))
    report = score(benchmark, file, tmp_path / name, mode)
    write_report(report, tmp_path / "report.json")
    assert {verdict.id.partition("#")[0] for verdict in report.verdicts} == set(map(str, ids))
    assert all(0 <= value <= 1 for verdict in report.verdicts for value in verdict.scores.values())
