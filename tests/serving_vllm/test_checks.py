"""What is refused early, and that this environment needs nothing of LLaMA-Factory."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from vllm import ModelRegistry
from vllm.model_executor.models.config import MODELS_CONFIG_MAP

import llamafactory_ext
from family_models import adapted
from llamafactory_ext.citi.export import export_citi
from llamafactory_ext.citi.vllm.checks import check
from llamafactory_ext.data_method.vllm.checks import check as check_data
from llamafactory_ext.errors import CheckpointError, OptionError, UpstreamError
from llamafactory_ext.families import FAMILIES
from llamafactory_ext.serving import vllm_plugin
from llamafactory_ext.serving.infer.options import InferOptions
from llamafactory_ext.serving.infer.vllm import VllmBackend
from llamafactory_ext.serving.vllm_plugin import checks
from tiny import tiny_tokenizer


def configuration(quantization: str | None = None, processes: int = 1, **fields: Any) -> Any:
    """What `check` reads of vLLM's configuration."""
    defaults = {
        "model_type": "citi_llama",
        "citi": {"format": 1},
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 48,
    }
    model = SimpleNamespace(quantization=quantization, hf_config=SimpleNamespace(**(defaults | fields)))
    spread = SimpleNamespace(tensor_parallel_size=processes, pipeline_parallel_size=1)
    return SimpleNamespace(model_config=model, parallel_config=spread)


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_what_runs_passes(processes: int) -> None:
    check(configuration(processes=processes))


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(OptionError) as caught:
        check(configuration("awq", 3, num_attention_heads=6, intermediate_size=47))
    assert "quantization='awq'" in caught.value.message
    assert "does not divide intermediate_size=47" in caught.value.message
    assert "num_attention_heads" not in caught.value.message
    assert "num_key_value_heads=2: one must divide the other" in caught.value.message
    with pytest.raises(OptionError, match=r"quantization_config out of config\.json"):
        check(configuration(quantization_config={"quant_method": "fp8"}))
    with pytest.raises(CheckpointError, match="no citi block at all"):
        check(configuration(citi=None))


def test_what_a_family_cannot_do_is_named_before_anything_is_loaded() -> None:
    with pytest.raises(OptionError, match="no class of its own for SmolLM3; run the export with transformers"):
        check(configuration(model_type="citi_smollm3"))
    with pytest.raises(OptionError, match="takes the embeddings for the head, which differ"):
        check(configuration(model_type="citi_gemma2", tie_word_embeddings=False))
    check(configuration(model_type="citi_gemma2", tie_word_embeddings=True))
    kinds = ["full_attention", "sliding_attention"]
    with pytest.raises(OptionError, match="Qwen3ForCausalLM takes no layers with a window beside others"):
        check(configuration(model_type="citi_qwen3", layer_types=kinds))
    check(configuration(model_type="citi_qwen3", layer_types=kinds[:1] * 2))
    check(configuration(model_type="citi_gemma3_text", layer_types=kinds))
    with pytest.raises(OptionError, match="knows no such family"):
        check(configuration(model_type="citi_falcon"))
    with pytest.raises(OptionError, match="DATA is not served on hybrid models"):
        check_data(configuration(model_type="data_qwen3_5_text", data={"format": 1}))


def test_shards_that_are_missing_are_named_before_a_worker_starts(tmp_path: Path) -> None:
    export_citi(adapted("llama3"), tiny_tokenizer(), None, tmp_path / "out", "200KB")
    found = configuration()
    found.model_config.model = str(tmp_path / "out")
    check(found)
    shard = sorted((tmp_path / "out").glob("model-*.safetensors"))[-1]
    shard.unlink()
    with pytest.raises(OptionError, match=rf"lacks {shard.name} of its weights; the export is incomplete"):
        check(found)
    with pytest.raises(CheckpointError, match=f"lacks {shard.name} of its weights; get the model again"):
        VllmBackend(InferOptions(model=str(tmp_path / "out")))
    found.load_config = SimpleNamespace(load_format="dummy")
    check(found)


def test_a_package_that_vllms_class_imports_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hybrid = {"model_type": "citi_qwen3_5_text"}
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    check(configuration(**hybrid))
    monkeypatch.delitem(sys.modules, "torchvision")
    monkeypatch.setattr(checks, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match="Qwen3_5ForCausalLM imports torchvision, which is not installed; install"):
        check(configuration(**hybrid))


@pytest.mark.parametrize("old", ["0.9.2", "0.31.0+cpu"])
def test_an_old_vllm_is_named_with_the_next_step(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "installed_version", lambda: old)
    with pytest.raises(UpstreamError, match=r"is too old for CITI and DATA models, 0\.32 or newer is needed"):
        check(configuration())


@pytest.mark.parametrize("new", ["0.32.0", "0.33.1+cu130", "1.0", "dev"])
def test_newer_and_unreadable_versions_pass(new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "installed_version", lambda: new)
    checks.require_version()


def test_registering_twice_changes_nothing() -> None:
    assert len(vllm_plugin.ARCHITECTURES) == len(vllm_plugin.EXPORTS) * len(FAMILIES) >= 20
    for _ in range(2):
        vllm_plugin.register()
        assert set(vllm_plugin.ARCHITECTURES) <= set(ModelRegistry.get_supported_archs())
        assert set(vllm_plugin.ARCHITECTURES) <= set(MODELS_CONFIG_MAP)


def test_the_rooms_of_this_environment_import_without_llamafactory() -> None:
    assert find_spec("llamafactory") is None
    for room in ("serving", "molora", "toolcalls", "metrics", "citi.vllm"):
        package = importlib.import_module(f"llamafactory_ext.{room}")
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if ".sandbox." in module.name:  # scripts for a process without this package
                continue
            if module.name == "llamafactory_ext.molora.gating_triton" and find_spec("triton") is None:
                continue  # this environment's torch knows no GPU
            importlib.import_module(module.name)
    assert llamafactory_ext.__version__
