"""`infer` through vLLM on an exported CITI model, by one engine and by two copies: the answers of transformers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from processes import run
from serving.asking import ask, data_file, lines
from serving_vllm.exports import export

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("copies", [1, 2])
def test_vllm_answers_as_transformers(tmp_path: Path, copies: int) -> None:
    model = export(tmp_path / "export")
    options = {"dtype": "float32", "max_new_tokens": 8, "template": "llama3_toolalpaca", "model": str(model)}
    (tmp_path / "hf").mkdir()
    expected = {record["id"]: record for record in ask(tmp_path / "hf", 5, backend="hf", **options)}
    given = options | {"dataset": data_file(tmp_path, 5), "benchmark": "mine", "out": tmp_path / "vllm.jsonl"}
    words = [f"--{name}={value}" for name, value in given.items()] + [f"--data_parallel={copies}"]
    command = [sys.executable, str(ROOT / "evaluation" / "vllm_infer.py"), *words]
    # Compilation, half of the time, has its test in test_engine.py.
    result = run(command, tmp_path, PYTHONPATH=str(ROOT / "src"), TORCH_COMPILE_DISABLE="1")
    assert result.returncode == 0, result.stderr
    started = {f"EngineCore_DP{i}" in result.stdout + result.stderr for i in range(copies)}
    assert started == {copies > 1}  # a lone engine has no number
    found = {record["id"]: record for record in lines(tmp_path / "vllm.jsonl")}
    assert found.keys() == expected.keys()
    for own_id, record in found.items():
        assert record["prediction"] == expected[own_id]["prediction"]
        assert record["prompt_hash"] == expected[own_id]["prompt_hash"]
