"""vLLM runs exported models: tokens and logprobs of transformers, eager and compiled, prefill in chunks, cached."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from vllm import LLM, ModelRegistry, SamplingParams
from vllm.distributed import cleanup_dist_env_and_memory

from llamafactory_ext.errors import CheckpointError, OptionError
from llamafactory_ext.methods import load
from llamafactory_ext.serving.vllm_plugin import ARCHITECTURES
from serving_vllm.exports import TOKENS, export, prompts, reference

GREEDY = SamplingParams(temperature=0, max_tokens=TOKENS, logprobs=1, ignore_eos=True)


def register(folder: Path) -> None:
    """Register an export's type by class: by name, as outside of tests, a process of its own first looks at it."""
    (name,) = json.loads((folder / "config.json").read_text("utf-8"))["architectures"]
    if name in ARCHITECTURES:
        ModelRegistry.register_model(name, load(f"{ARCHITECTURES[name]}:{name}"))


@contextmanager
def engine(folder: Path, **options: Any) -> Iterator[LLM]:
    """An engine in this process, gone afterwards."""
    register(folder)
    fields = {"dtype": "float32", "enforce_eager": True, "max_model_len": 128, "seed": 0} | options
    llm = LLM(str(folder), **fields)
    try:
        yield llm
    finally:
        del llm
        gc.collect()
        cleanup_dist_env_and_memory()


def answers(llm: LLM) -> list[Any]:
    """All prompts in one batch."""
    return llm.generate([{"prompt_token_ids": prompt} for prompt in prompts()], GREEDY, use_tqdm=False)


def assert_equal(folder: Path, replies: list[Any]) -> None:
    """Tokens equal, logprobs within 1e-3, against transformers on the same directory."""
    for prompt, reply in zip(prompts(), replies, strict=True):
        output = reply.outputs[0]
        tokens, logprobs = reference(folder, prompt, list(output.token_ids))
        assert tokens == list(output.token_ids)
        assert len(tokens) == TOKENS
        found = [place[token].logprob for place, token in zip(output.logprobs, tokens, strict=True)]
        assert found == pytest.approx(logprobs, abs=1e-3)


def test_llama_with_chunked_prefill_and_prefix_cache_runs_no_code_of_the_directory(tmp_path: Path) -> None:
    folder = export(tmp_path / "llama")
    trap = tmp_path / "executed"
    (folder / "modeling_trap.py").write_text(f"open({str(trap)!r}, 'w')\nclass Trap: pass\nclass TrapConfig: pass\n")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "modeling_trap.TrapConfig", "AutoModelForCausalLM": "modeling_trap.Trap"}
    (folder / "config.json").write_text(json.dumps(config))
    options = {"max_num_batched_tokens": 48, "max_num_seqs": 8, "enable_chunked_prefill": True, "block_size": 32}
    with engine(folder, enable_prefix_caching=True, **options) as llm:
        first = answers(llm)
        again = answers(llm)
        assert again[2].num_cached_tokens >= 32
        assert [reply.outputs[0].token_ids for reply in again] == [reply.outputs[0].token_ids for reply in first]
    assert_equal(folder, first)
    assert_equal(folder, again)
    assert not trap.exists()


def test_compiled_mistral_without_neutral_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = export(tmp_path / "mistral", "mistral", neutral=False, tie_word_embeddings=True)
    monkeypatch.setenv("VLLM_CACHE_ROOT", str(tmp_path / "cache"))
    with engine(folder, enforce_eager=False) as llm:
        replies = answers(llm)
    assert list((tmp_path / "cache").rglob("*.py")), "nothing was compiled"
    assert_equal(folder, replies)


def test_phi3_with_adapters_on_its_own_fused_linears(tmp_path: Path) -> None:
    folder = export(tmp_path / "phi3", "phi3")
    with engine(folder) as llm:
        replies = answers(llm)
    assert_equal(folder, replies)


def test_missing_and_foreign_tensors_are_named(tmp_path: Path) -> None:
    folder = export(tmp_path / "out")
    weights, config = folder / "model.safetensors", folder / "config.json"
    whole, settings = load_file(weights), json.loads(config.read_text())
    for gone in (
        "model.layers.1.self_attn.k_proj.molora.B",
        "model.layers.0.mlp.gate_proj.weight",  # tuned
        "model.layers.1.input_layernorm.weight",
    ):
        save_file({name: tensor for name, tensor in whole.items() if name != gone}, weights, {"format": "pt"})
        with pytest.raises(CheckpointError, match=f"lacks 1 tensors, {gone}"), engine(folder):
            pass
    cut = {
        name: tensor[:2].contiguous() if name.endswith("q_proj.molora.A") else tensor for name, tensor in whole.items()
    }
    save_file(cut, weights, {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"q_proj\.molora\.A has the shape \(2, 8, 128\)"), engine(folder):
        pass
    save_file(whole, weights, {"format": "pt"})
    config.write_text(json.dumps(settings | {"citi": settings["citi"] | {"target_modules": []}}))
    with pytest.raises(CheckpointError, match=r"does not name in citi\.target_modules"), engine(folder):
        pass
    config.write_text(json.dumps(settings | {"citi": settings["citi"] | {"format": 99}}))
    with pytest.raises(CheckpointError, match="says 99; format 1"), engine(folder):
        pass


def test_quantization_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    folder = export(tmp_path / "out")
    with pytest.raises(OptionError, match="leave --quantization out"), engine(folder, quantization="fp8"):
        pass


def test_two_processes_share_a_model(tmp_path: Path) -> None:
    folder = export(tmp_path / "out")
    with engine(folder, tensor_parallel_size=2, distributed_executor_backend="mp") as llm:
        replies = answers(llm)
    assert_equal(folder, replies)
