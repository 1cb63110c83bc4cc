"""An adapter is recognised as belonging to a base model, or refused."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model

import tiny
from llamafactory_ext.checkpoint.base import check_base, config_facts, fingerprint
from llamafactory_ext.errors import CheckpointError
from llamafactory_ext.molora import MoLoraConfig

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MOLoRA adapter of tiny Llama with a manifest; read-only."""
    folder = tmp_path_factory.mktemp("adapter")
    model = get_peft_model(tiny.tiny_model(), config())
    model.peft_config["default"].base_model_name_or_path = "tiny"
    model.save_pretrained(folder)
    base = tiny.tiny_model()
    manifest = {"base": {"name": "tiny", "linears": fingerprint(base), "config": config_facts(base.config)}}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def config() -> MoLoraConfig:
    return MoLoraConfig(
        target_modules=["model.layers.0.mlp.down_proj", "model.layers.1.self_attn.q_proj"],
        modules_to_save=["model.layers.0.mlp.up_proj"],
        init_weights=False,
    )


def with_layers(*numbers: int) -> Any:
    """The tiny model with these of its layers."""
    model: Any = tiny.tiny_model()
    model.model.layers = torch.nn.ModuleList(copy.deepcopy(model.model.layers[number]) for number in numbers)
    return model


def test_the_fingerprint_does_not_see_adapters(adapter: Path) -> None:
    plain = fingerprint(tiny.tiny_model())
    assert len(plain) == 15
    assert plain["model.layers.0.mlp.up_proj"]["shape"] == [tiny.INTERMEDIATE, tiny.HIDDEN]
    model = PeftModel.from_pretrained(tiny.tiny_model(), adapter)
    for name, parameter in model.named_parameters():
        if "modules_to_save" in name or "molora" in name:
            parameter.data += 1
    assert fingerprint(model) == plain


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_its_own_base_is_accepted_in_every_number_type(adapter: Path, dtype: torch.dtype) -> None:
    check_base(tiny.tiny_model(dtype=dtype), adapter)


def test_an_adapted_base_is_accepted(adapter: Path) -> None:
    check_base(PeftModel.from_pretrained(tiny.tiny_model(), adapter), adapter)


def test_an_adapter_trained_on_the_quantized_base_is_accepted(adapter: Path, tmp_path: Path) -> None:
    """Of a quantised base the manifest knows the head alone; that one must still fit."""
    folder = shutil.copytree(adapter, tmp_path / "adapter")
    head = {"lm_head": fingerprint(tiny.tiny_model())["lm_head"]}
    base = {"name": "tiny", "quantization": "bitsandbytes", "linears": head}
    (folder / "manifest.json").write_text(json.dumps({"base": base}), encoding="utf-8")
    check_base(tiny.tiny_model(), folder)
    with pytest.raises(CheckpointError, match="the weights of lm_head differ"):
        check_base(tiny.tiny_model(seed=1), folder)


def test_linears_stored_in_a_shape_of_their_own_are_left_out() -> None:
    """As bitsandbytes keeps 4 bits: bytes under a float type."""
    model = tiny.tiny_model()
    linear = model.model.layers[0].mlp.up_proj
    linear.weight = torch.nn.Parameter(linear.weight.detach().reshape(-1, 1), requires_grad=False)
    assert len(fingerprint(model)) == 14


@pytest.mark.parametrize(
    ("base", "difference"),
    [
        (lambda: tiny.tiny_model(seed=1), "the weights of .* differ"),
        (lambda: tiny.tiny_model("phi3"), "was not there|is missing"),
        (lambda: with_layers(0, 1, 1), "model.layers.2.* was not there"),
        (lambda: with_layers(0), "model.layers.1.* is missing"),
        (lambda: tiny.tiny_model(vocab_size=385), r"lm_head is \[385, 32\], was \[384, 32\]"),
    ],
    ids=["other weights", "other architecture", "more layers", "fewer layers", "other vocabulary"],
)
def test_another_base_is_refused(adapter: Path, base: Callable[[], Any], difference: str) -> None:
    with pytest.raises(
        CheckpointError, match=f"was trained on another base model than this one: .*({difference})"
    ) as error:
        check_base(base(), adapter)
    assert error.value.message.startswith(str(adapter))
    assert error.value.message.endswith("Set model_name_or_path to its base, tiny.")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (shutil.rmtree, "there is no adapter configuration here"),
        (lambda path: (path / "adapter_config.json").write_text("{"), "the adapter configuration is damaged"),
        (lambda path: (path / "adapter_model.safetensors").unlink(), "the checkpoint is incomplete"),
        (lambda path: (path / "manifest.json").write_text("]"), "the manifest is damaged"),
        (lambda path: (path / "manifest.json").write_text("{}"), "manifest"),
        (lambda path: (path / "manifest.json").write_text('{"base": {"linears": {"lm_head": 1}}}'), "manifest"),
    ],
    ids=["nothing", "configuration", "no weights", "manifest", "empty manifest", "odd manifest"],
)
def test_damage_is_named(adapter: Path, tmp_path: Path, damage: Callable[[Path], Any], message: str) -> None:
    path = tmp_path / "adapter"
    shutil.copytree(adapter, path)
    damage(path)
    with pytest.raises(CheckpointError, match=message):
        check_base(tiny.tiny_model(), path)


def test_an_adapter_of_another_method_is_named(tmp_path: Path) -> None:
    get_peft_model(tiny.tiny_model(), LoraConfig(target_modules=["q_proj"])).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="holds a LORA adapter, not a MOLoRA or DATA one; set finetuning_type"):
        check_base(tiny.tiny_model(), tmp_path)


def test_an_adapter_without_manifest_is_left_to_peft(tiny_adapter_dir: Path) -> None:
    check_base(tiny.tiny_model(seed=3), tiny_adapter_dir)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("rope_theta", {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}),
        ("hidden_act", {"hidden_act": "gelu"}),
        ("rms_norm_eps", {"rms_norm_eps": 1e-5}),
    ],
)
def test_another_configuration_is_another_base(adapter: Path, name: str, changes: dict[str, Any]) -> None:
    """The same weights under another configuration compute something else."""
    model = tiny.tiny_model(**changes)
    with pytest.raises(CheckpointError, match=rf"its {name} is .*, was "):
        check_base(model, adapter)


@pytest.mark.parametrize("changes", [{"max_position_embeddings": 8192}, {"use_cache": False}, {"pad_token_id": 2}])
def test_what_computes_nothing_may_change(adapter: Path, changes: dict[str, Any]) -> None:
    check_base(tiny.tiny_model(**changes), adapter)


def test_a_manifest_of_an_earlier_version_says_nothing_of_it(adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(adapter, tmp_path / "old")
    manifest = json.loads((adapter / "manifest.json").read_text("utf-8"))
    del manifest["base"]["config"]
    (tmp_path / "old" / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    check_base(tiny.tiny_model(rms_norm_eps=1e-5), tmp_path / "old")
