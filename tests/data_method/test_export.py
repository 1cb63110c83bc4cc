"""Exports answer as the adapter does, in transformers alone; what cannot be exported is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from llamafactory_ext.data_method.export import export_data, export_remark
from llamafactory_ext.errors import CheckpointError, OptionError
from serving_vllm.data_exports import ARCHITECTURES, adapted, base_of, export
from tiny import tiny_tokenizer

pytestmark = pytest.mark.fast

IDS = torch.randint(5, 384, (2, 9), generator=torch.Generator().manual_seed(0))


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_export_answers_as_the_adapter_does(architecture: str, tmp_path: Path) -> None:
    found = AutoModelForCausalLM.from_pretrained(export(tmp_path / "out", architecture)).eval()
    wanted = logits(adapted(architecture))
    assert type(found).__name__.startswith("Data")
    assert torch.allclose(logits(found), wanted, atol=1e-4)
    assert not torch.allclose(logits(base_of(architecture)), wanted, atol=0.1)
    config = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))["data"]
    assert (config["rows"], config["tasks"]) == (8, ["task", "task 1"])
    assert len(config["target_modules"]) == 3 * (4 if architecture == "phi3" else 7)


@pytest.mark.parametrize(
    ("config", "gate", "remark"),
    [
        ({"model_type": "llama"}, "token", None),
        ({"model_type": "gpt2"}, "none", None),  # merged
        ({"model_type": "gpt2"}, "token", "no exported type for the architecture gpt2"),
        ({"model_type": "llama"}, "prefix", "the adapter's gate is prefix"),
        ({"model_type": "citi_llama", "citi": {}}, "token", "citi_llama is an export"),
        ({"model_type": "gemma3", "vision_config": {}}, "token", "tower"),
    ],
)
def test_a_training_says_that_export_will_refuse_it(config: dict[str, Any], gate: str, remark: str | None) -> None:
    found = export_remark(config, gate)
    assert (found is None) == (remark is None)
    assert (remark or "") in (found or "")


def test_cached_generation_is_that_of_the_adapter(tmp_path: Path) -> None:
    found = AutoModelForCausalLM.from_pretrained(export(tmp_path / "out")).eval()
    settings = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 1}
    assert torch.equal(found.generate(input_ids=IDS, **settings), adapted().generate(input_ids=IDS, **settings))


def test_without_gates_the_export_is_a_plain_model(tmp_path: Path) -> None:
    found = AutoModelForCausalLM.from_pretrained(export(tmp_path / "out", gate="none")).eval()
    assert type(found).__name__ == "LlamaForCausalLM"
    assert torch.allclose(logits(found), logits(adapted(gate="none")), atol=1e-4)


def test_half_precision_keeps_the_likeliest_tokens(tmp_path: Path) -> None:
    folder = export(tmp_path / "out", dtype=torch.bfloat16)
    found = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    wanted = logits(adapted(dtype=torch.bfloat16)).float()
    assert found.dtype == torch.bfloat16
    assert torch.allclose(logits(found).float(), wanted, atol=0.1 * wanted.abs().max().item())


@pytest.mark.parametrize("gate", ["prefix", "reference"])
def test_gates_over_other_tokens_are_refused(gate: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=f"the adapter's gate is {gate}"):
        export(tmp_path / "out", gate=gate)
    assert not (tmp_path / "out").exists()


def test_what_is_no_such_adapter_and_somebodys_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no DATA adapter on the model"):
        export_data(base_of("llama"), tiny_tokenizer(), None, tmp_path / "out", "5GB")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(OptionError, match="holds something else"):
        export(tmp_path / "mine")


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    folder = export(tmp_path / "out")
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.0.data_gate.c"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks 1 adapter tensors, model\.layers\.0\.data_gate\.c"):
        AutoModelForCausalLM.from_pretrained(folder)
