"""vLLM runs exported DATA models: tokens and logprobs of transformers, eager and compiled, in chunks, cached."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from llamafactory_ext.errors import CheckpointError, OptionError
from serving_vllm.data_exports import ARCHITECTURES, export
from serving_vllm.test_engine import answers, assert_equal, engine


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_greedy_tokens_are_those_of_transformers(architecture: str, tmp_path: Path) -> None:
    folder = export(tmp_path / "out", architecture)
    with engine(folder) as llm:
        replies = answers(llm)
    assert_equal(folder, replies)


def test_chunked_prefill_and_prefix_cache_change_nothing(tmp_path: Path) -> None:
    folder = export(tmp_path / "out")
    options = {"max_num_batched_tokens": 48, "max_num_seqs": 8, "enable_chunked_prefill": True, "block_size": 32}
    with engine(folder, enable_prefix_caching=True, **options) as llm:
        first = answers(llm)
        again = answers(llm)
        assert again[2].num_cached_tokens >= 32
    assert_equal(folder, first)
    assert_equal(folder, again)


def test_compiled_layers_read_the_gates_of_their_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = export(tmp_path / "out", "qwen3")
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path / "cache"))
    with engine(folder, enforce_eager=False) as llm:
        replies = answers(llm)
    assert list((tmp_path / "cache").rglob("*.py")), "nothing was compiled"
    assert_equal(folder, replies)


def test_two_processes_share_the_layers(tmp_path: Path) -> None:
    folder = export(tmp_path / "out", low_rank=2, high_rank=3)  # five ranks do not divide evenly
    with engine(folder, tensor_parallel_size=2, distributed_executor_backend="mp") as llm:
        replies = answers(llm)
    assert_equal(folder, replies)


def test_missing_and_foreign_tensors_are_named(tmp_path: Path) -> None:
    folder = export(tmp_path / "out")
    weights, config = folder / "model.safetensors", folder / "config.json"
    whole, settings = load_file(weights), json.loads(config.read_text())
    for gone in ("model.layers.1.self_attn.k_proj.data.B", "model.layers.2.data_gate.c"):
        save_file({name: tensor for name, tensor in whole.items() if name != gone}, weights, {"format": "pt"})
        with pytest.raises(CheckpointError, match=f"lacks 1 tensors, {gone}"), engine(folder):
            pass
    save_file(whole, weights, {"format": "pt"})
    config.write_text(json.dumps(settings | {"data": settings["data"] | {"target_modules": []}}))
    with pytest.raises(CheckpointError, match="does not name in its block `data`"), engine(folder):
        pass
    config.write_text(json.dumps(settings | {"data": settings["data"] | {"format": 99}}))
    with pytest.raises(CheckpointError, match="says 99; format 1"), engine(folder):
        pass


def test_pipeline_stages_and_quantization_are_refused(tmp_path: Path) -> None:
    folder = export(tmp_path / "out")
    config = json.loads((folder / "config.json").read_text())
    quantized = config | {"quantization_config": {"quant_method": "fp8", "activation_scheme": "dynamic"}}
    (folder / "config.json").write_text(json.dumps(quantized))
    with pytest.raises(OptionError, match="quantization"), engine(folder):
        pass
