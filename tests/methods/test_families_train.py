"""Models of other structures than Llama's train from end to end: citi with export, TL-Training and its PPO."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from llamafactory.train.tuner import export_model, run_exp
from peft import PeftModel
from transformers import AutoModelForCausalLM

import option_runs
from family_models import MODELS, family_model, greedy
from llamafactory_ext.errors import OptionError
from sampling import sample
from tiny import tiny_tokenizer

# One of each structure: experts, post-norm with windows, hybrid, fused linears, biases, q/k norm.
STRUCTURES = ["qwen3_moe", "gemma3", "qwen3_5", "phi4_mini", "qwen2", "qwen3", "smollm3"]


def save(name: str, folder: Path) -> str:
    family_model(name, max_position_embeddings=4096).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("data")
    option_runs.write_data(folder)
    return str(folder)


def train(method: str, model: str, data: str, output: Path, **changes: Any) -> None:
    places = {"model_name_or_path": model, "dataset_dir": data, "output_dir": str(output)}
    run_exp(option_runs.options_of(method, places | changes))


@pytest.mark.parametrize("name", sample(STRUCTURES, 3))
def test_citi_trains_and_its_export_answers_as_the_adapter(name: str, data: str, tmp_path: Path) -> None:
    model = save(name, tmp_path / "model")
    train("citi", model, data, tmp_path / "run", citi_top_ratio=0.5)
    card = (tmp_path / "run" / "README.md").read_text("utf-8")
    assert ("hold the weights of all experts" in card) == (name == "qwen3_moe")
    assert ("vLLM has no class" in card) == (name == "smollm3")
    arguments = {"model_name_or_path": model, "adapter_name_or_path": str(tmp_path / "run"), "template": "llama3"}
    export_model(arguments | {"finetuning_type": "citi", "export_dir": str(tmp_path / "export")})
    base = AutoModelForCausalLM.from_pretrained(model)
    tuned = PeftModel.from_pretrained(base, tmp_path / "run").eval()
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "export").eval()
    assert exported.config.model_type == f"citi_{MODELS[name][0]}"
    ids = torch.arange(40)[None]
    with torch.no_grad(), tuned.disable_adapter():
        off = tuned(input_ids=ids).logits
    with torch.no_grad():
        on = tuned(input_ids=ids).logits
        assert (on - off).abs().max() > 1e-3
        assert (exported(input_ids=ids).logits - on).abs().max() < 1e-4
    assert list(greedy(exported)) == list(greedy(tuned))


@pytest.mark.parametrize("method", ["tl_sft", "tl_ppo"])
@pytest.mark.parametrize("name", sample(STRUCTURES, 3))
def test_tl_training_trains(name: str, method: str, data: str, tmp_path: Path) -> None:
    train(method, save(name, tmp_path / "model"), data, tmp_path / "run")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tuned = PeftModel.from_pretrained(base, tmp_path / "run").eval()
    ids = torch.arange(40)[None]
    with torch.no_grad(), tuned.disable_adapter():
        off = tuned(input_ids=ids).logits
    with torch.no_grad():
        assert not torch.equal(tuned(input_ids=ids).logits, off)


@pytest.mark.parametrize("method", ["citi", "tl_sft"])
def test_examples_are_not_packed_where_states_would_run_on(method: str, data: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="packing: the layers of a qwen3_5_text carry states from one example into"):
        train(method, save("qwen3_5", tmp_path / "model"), data, tmp_path / "run", packing=True)
    assert not (tmp_path / "run").exists()


def test_an_architecture_without_a_row_is_refused_before_its_weights_are_read(data: str, tmp_path: Path) -> None:
    from transformers import OlmoConfig, OlmoForCausalLM

    config = OlmoConfig(
        vocab_size=384, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    OlmoForCausalLM(config).save_pretrained(tmp_path / "model")
    tiny_tokenizer().save_pretrained(tmp_path / "model")
    with pytest.raises(OptionError, match=r"no exported type for the architecture olmo.*citi_export: none trains it"):
        train("citi", str(tmp_path / "model"), data, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    train("citi", str(tmp_path / "model"), data, tmp_path / "run", citi_export="none", max_steps=1)
    assert "It cannot be exported either" in (tmp_path / "run" / "README.md").read_text("utf-8")
