"""`infer` through vLLM on an exported CITI model: the answers of transformers, and a second run asks nothing."""

from __future__ import annotations

import sys
from pathlib import Path

from processes import run
from serving.asking import ask, data_file, lines
from serving_vllm.exports import export

ROOT = Path(__file__).parents[2]


def test_vllm_answers_as_transformers(tmp_path: Path) -> None:
    model = export(tmp_path / "export")
    options = {"dtype": "float32", "max_new_tokens": 8, "template": "llama3_toolalpaca", "model": str(model)}
    (tmp_path / "hf").mkdir()
    expected = {record["id"]: record for record in ask(tmp_path / "hf", 5, backend="hf", **options)}
    given = options | {"dataset": data_file(tmp_path, 5), "benchmark": "mine", "out": tmp_path / "vllm.jsonl"}
    words = [f"--{name}={value}" for name, value in given.items()]
    command = [sys.executable, str(ROOT / "evaluation" / "vllm_infer.py"), *words]
    result = run(command, tmp_path, PYTHONPATH=str(ROOT / "src"))
    assert result.returncode == 0, result.stderr
    found = {record["id"]: record for record in lines(tmp_path / "vllm.jsonl")}
    assert found.keys() == expected.keys()
    for own_id, record in found.items():
        assert record["prediction"] == expected[own_id]["prediction"]
        assert record["prompt_hash"] == expected[own_id]["prompt_hash"]
