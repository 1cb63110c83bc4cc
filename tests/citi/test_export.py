"""The exported directory: same logits, every tensor required, unknown loaders refuse it, nothing overwritten."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftConfig, get_peft_model
from peft.utils.constants import DUMMY_TARGET_MODULES
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from llamafactory_ext.citi.export import export_citi
from llamafactory_ext.errors import CheckpointError, OptionError
from llamafactory_ext.molora import MoLoraConfig
from processes import run
from tiny import ARCHITECTURES, tiny_model, tiny_tokenizer

TARGETS = {
    "llama": ["model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"],
    "mistral": ["model.layers.0.self_attn.o_proj", "model.layers.1.mlp.up_proj"],
    "phi3": ["model.layers.0.self_attn.qkv_proj", "model.layers.1.mlp.gate_up_proj"],
}


def trained(architecture: str = "llama", neutral: bool = True, **changes):
    """A model with an acting adapter and one tuned linear."""
    config = MoLoraConfig(
        target_modules=TARGETS[architecture],
        modules_to_save=["model.layers.0.mlp.down_proj"],
        alpha=40.0,
        neutral_gate=neutral,
        init_weights=False,
    )
    return with_adapter(config, architecture, **changes)


def with_adapter(config: PeftConfig, architecture: str, **changes):
    """A model with this adapter, tuned linears moved."""
    torch.manual_seed(1)
    model = get_peft_model(tiny_model(architecture, **changes), config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".modules_to_save." in name:
                parameter.mul_(1.5)
    return model


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(0, 384, (2, 9), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("tied", "neutral"), [(False, True), (True, True), (False, False)])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_round_trip_gives_the_same_logits(
    architecture: str, tied: bool, neutral: bool, tmp_path: Path, ids: torch.Tensor
) -> None:
    model = trained(architecture, neutral, tie_word_embeddings=tied)
    export_citi(model, tiny_tokenizer(), None, tmp_path / "out", "5GB")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["model_type"] == f"citi_{architecture}"
    assert config["citi"]["target_modules"] == TARGETS[architecture]
    assert config["citi"]["neutral_gate"] is neutral
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert type(loaded).__name__.startswith("Citi")
    router = loaded.get_submodule(TARGETS[architecture][0]).molora.router
    assert router.shape[0] == 4 + neutral
    base = tiny_model(architecture, tie_word_embeddings=tied)(ids).logits
    expected = model(ids).logits
    assert (expected - base).abs().max() > 0.01
    assert (loaded(ids).logits - expected).abs().max() < 1e-6
    assert {file.name for file in (tmp_path / "out").iterdir()} >= {
        "README.md", "config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja",
    }  # fmt: skip
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kind", ["lora", "full"])
def test_what_stands_in_for_molora_becomes_a_plain_model(
    kind: str, architecture: str, tied: bool, tmp_path: Path, ids: torch.Tensor
) -> None:
    """`citi_adapter: lora` and `full`: merged, of the base's own type, readable without this package."""
    tuned = ["model.layers.0.mlp.down_proj"]
    config = LoraConfig(target_modules=TARGETS[architecture], modules_to_save=tuned, r=4, init_lora_weights=False)
    if kind == "full":
        config = LoraConfig(target_modules=DUMMY_TARGET_MODULES, modules_to_save=tuned)
    model = with_adapter(config, architecture, tie_word_embeddings=tied).double()
    expected = model(ids).logits
    with model.disable_adapter():
        assert (expected - model(ids).logits).abs().max() > 0.01
    model.float()
    export_citi(model, tiny_tokenizer(), None, tmp_path / "out", "5GB")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert loaded.config.model_type == architecture
    assert loaded.dtype == torch.float32
    assert (loaded.double()(ids).logits - expected).abs().max() < 1e-5
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "an ablation of CITI" in card
    assert "import llamafactory_ext" not in card
    assert ("LoRA of rank 4 merged into 2 linears" in card) == (kind == "lora")
    export_citi(
        with_adapter(config, architecture), tiny_tokenizer(), None, tmp_path / "out", "5GB"
    )  # an earlier export may be replaced


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_what_is_merged_into_an_export_leaves_its_adapters_in_place(
    kind: str, tmp_path: Path, ids: torch.Tensor
) -> None:
    """An export may be trained on: it stays of its type, and says where its adapters are."""
    export_citi(trained(), tiny_tokenizer(), None, tmp_path / "first", "5GB")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "first").eval()
    places = [*TARGETS["llama"], "model.layers.1.mlp.up_proj"]  # two that have adapters, one that has none
    config = LoraConfig(target_modules=places, r=4, init_lora_weights=False)
    if kind == "full":
        config = LoraConfig(target_modules=DUMMY_TARGET_MODULES, modules_to_save=places)
    model = get_peft_model(base, config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".modules_to_save." in name:
                parameter.mul_(1.5)
        expected = model(ids).logits
        with model.disable_adapter():
            assert (expected - model(ids).logits).abs().max() > 0.01
        export_citi(model, tiny_tokenizer(), None, tmp_path / "second", "5GB")
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "second").eval()
        assert loaded.config.model_type == "citi_llama"
        assert (loaded(ids).logits - expected).abs().max() < 1e-4
    assert "import llamafactory_ext  # registers citi_llama" in (tmp_path / "second" / "README.md").read_text("utf-8")


@pytest.mark.parametrize(
    "change",
    [
        {"num_experts": None},
        {"num_experts": "x"},
        {"target_modules": ["model.layers.9.mlp"]},
        {"target_modules": 3},
        {"r": []},
        {"merged": True, "num_experts": "gone"},
    ],
)
def test_a_damaged_block_of_an_export_is_named(change: dict[str, Any], tmp_path: Path) -> None:
    export_citi(trained(), tiny_tokenizer(), None, tmp_path / "out", "5GB")
    config = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))
    config["citi"] |= change
    if change.get("num_experts") == "gone":  # as merging over an export once left it
        config["citi"] = {"format": 1, "merged": True}
    (tmp_path / "out" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"citi_llama model has a damaged block `citi` .*; export the"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "out")


def test_a_merged_export_of_a_half_precision_base_keeps_its_number_type(tmp_path: Path) -> None:
    config = LoraConfig(target_modules=["q_proj"], modules_to_save=["model.layers.0.mlp.down_proj"], r=4)
    model = get_peft_model(tiny_model(dtype=torch.bfloat16), config)
    model.base_model.model.model.layers[0].mlp.down_proj.modules_to_save.float()
    export_citi(model, tiny_tokenizer(), None, tmp_path / "out", "5GB")
    assert {tensor.dtype for tensor in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.bfloat16}


def test_generation_with_a_cache_equals_the_adapters(tmp_path: Path, ids: torch.Tensor) -> None:
    model = trained()
    export_citi(model, tiny_tokenizer(), None, tmp_path / "out", "5GB")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    arguments = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 1}
    assert torch.equal(loaded.generate(ids, **arguments), model.generate(input_ids=ids, **arguments))


def test_shards_and_layout(tmp_path: Path, ids: torch.Tensor) -> None:
    model = trained()
    export_citi(model, tiny_tokenizer(), None, tmp_path / "out", "40KB")
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(index.values())) > 1
    tensors = {}
    for file in set(index.values()):
        tensors |= load_file(tmp_path / "out" / file)
    name = TARGETS["llama"][0]
    assert tensors[f"{name}.molora.A"].shape == (4, 8, 32)
    assert tensors[f"{name}.molora.B"].shape == (4, 32, 8)
    assert tensors[f"{name}.molora.router"].shape == (5, 32)
    assert not any("modules_to_save" in key or "base_layer" in key for key in tensors)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert (loaded(ids).logits - model(ids).logits).abs().max() < 1e-6


def test_bf16_stays_bf16(tmp_path: Path, ids: torch.Tensor) -> None:
    tiny_model().save_pretrained(tmp_path / "base")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.bfloat16)
    config = MoLoraConfig(target_modules=TARGETS["llama"], alpha=40.0, init_weights=False)
    model = get_peft_model(base, config).eval()
    export_citi(model, tiny_tokenizer(), None, tmp_path / "out", "5GB")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert loaded.dtype == torch.bfloat16
    assert torch.equal(loaded(ids).logits, model(ids).logits)


def test_missing_and_damaged_shards_are_named_before_anything_is_loaded(tmp_path: Path) -> None:
    export_citi(trained(), tiny_tokenizer(), None, tmp_path / "out", "40KB")
    shard = sorted((tmp_path / "out").glob("model-*.safetensors"))[-1]
    whole = shard.read_bytes()
    for data, said in ((whole[:-10], "so it is not whole"), (None, f"lacks {shard.name} of its weights")):
        shard.unlink() if data is None else shard.write_bytes(data)
        with pytest.raises(CheckpointError, match=f"{said}; the export is incomplete, write it again with") as caught:
            AutoModelForCausalLM.from_pretrained(tmp_path / "out")
        assert "\n" not in caught.value.message
    shard.write_bytes(whole)
    AutoModelForCausalLM.from_pretrained(tmp_path / "out")


def test_missing_adapter_tensors_are_an_error(tmp_path: Path) -> None:
    export_citi(trained(), tiny_tokenizer(), None, tmp_path / "out", "5GB")
    file = tmp_path / "out" / "model.safetensors"
    kept = {key: tensor for key, tensor in load_file(file).items() if not key.endswith("q_proj.molora.A")}
    save_file(kept, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks 1 adapter tensors, .*q_proj\.molora\.A"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "out")


def test_a_newer_format_is_an_error(tmp_path: Path) -> None:
    export_citi(trained(), tiny_tokenizer(), None, tmp_path / "out", "5GB")
    file = tmp_path / "out" / "config.json"
    config = json.loads(file.read_text())
    config["citi"]["format"] = 99
    file.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="export the checkpoint again"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "out")


def test_transformers_knows_the_type_where_the_package_is_installed_and_refuses_it_elsewhere(tmp_path: Path) -> None:
    export_citi(trained(), tiny_tokenizer(), None, tmp_path / "out", "5GB")
    code = f"import transformers; transformers.AutoModelForCausalLM.from_pretrained({str(tmp_path / 'out')!r})"
    for switch, loads in (("1", True), ("0", False)):
        done = run([sys.executable, "-c", code], tmp_path, LLAMAFACTORY_EXT=switch)
        assert (done.returncode == 0) == loads, done.stderr
        assert loads or "citi_llama" in done.stderr


def test_a_folder_with_something_else_is_left_alone_and_an_older_export_is_replaced(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    with pytest.raises(OptionError, match="export_dir="):
        export_citi(trained(), tiny_tokenizer(), None, other, "5GB")
    assert (other / "thesis.txt").read_text() == "years of work"
    for _ in range(2):
        export_citi(trained(), tiny_tokenizer(), None, tmp_path / "out", "5GB")


def test_a_plain_model_and_an_unknown_architecture_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="adapter_name_or_path"):
        export_citi(tiny_model(), tiny_tokenizer(), None, tmp_path / "out", "5GB")
    model = trained()
    model.get_base_model().config.model_type = "gpt2"
    with pytest.raises(OptionError, match="architecture gpt2"):
        export_citi(model, tiny_tokenizer(), None, tmp_path / "out", "5GB")
    assert not list(tmp_path.iterdir())
