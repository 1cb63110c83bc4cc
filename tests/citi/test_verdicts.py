"""What doctor says of a model is what happens: its run is refused or goes on, its export is refused or written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from llamafactory.hparams import get_train_args
from peft import get_peft_model
from transformers import CONFIG_MAPPING

import option_runs
from family_models import COMMON, MODELS, adapted, family_model
from llamafactory_ext.citi.export import export_citi
from llamafactory_ext.citi.importance import linear_components, score_components
from llamafactory_ext.errors import ExtError
from llamafactory_ext.families import FAMILIES, standing
from llamafactory_ext.molora import MoLoraConfig
from llamafactory_ext.training.skeleton import random_model
from llamafactory_ext.upstream.doctor import model_checks
from tiny import tiny_tokenizer

TEXT: dict[str, Any] = COMMON | {"hidden_size": 64, "intermediate_size": 96}
SEEN: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
GEMMA = {"head_dim": 16, "sliding_window": 16, "model_type": "gemma3_text"}
# Architectures without a row, and whether they train: of linears or not, with towers, with an encoder.
OTHERS: dict[str, tuple[dict[str, Any], bool]] = {
    "olmo2": (TEXT, True),
    "granite": (TEXT, True),
    "cohere": (TEXT, True),
    "stablelm": (TEXT, True),
    "mixtral": (TEXT | {"num_local_experts": 4}, True),
    "opt": (TEXT | {"ffn_dim": 96, "word_embed_proj_dim": 64}, True),
    "gpt2": ({"vocab_size": 384, "n_embd": 64, "n_layer": 2, "n_head": 4}, False),
    "t5": ({"vocab_size": 384, "d_model": 64, "d_ff": 96, "d_kv": 16, "num_layers": 2, "num_heads": 4}, False),
    "gemma3": ({"text_config": TEXT | GEMMA, "vision_config": SEEN, "mm_tokens_per_image": 4}, True),
    "llava": ({"text_config": TEXT | {"model_type": "llama"}, "vision_config": SEEN}, True),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return option_runs.make_world(tmp_path_factory.mktemp("world"))


def other_model(kind: str) -> Any:
    torch.manual_seed(0)
    return random_model(CONFIG_MAPPING[kind](**OTHERS[kind][0]))


def saved(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def refusal(folder: Path, world: dict[str, str], method: str, **changes: Any) -> str | None:
    given = {**option_runs.BASE, **option_runs.METHODS[method], **changes, "model_name_or_path": str(folder)}
    given |= {"dataset_dir": world["data"], "output_dir": str(folder.parent / "out")}
    try:
        get_train_args({name: value for name, value in given.items() if value is not None})
    except ExtError as error:
        return error.message
    return None


def verdict(folder: Path) -> dict[str, str]:
    return {check.what.partition(":")[0]: check.state for check in model_checks(folder)[0]}


@pytest.mark.parametrize("name", MODELS)
def test_a_family_trains_and_exports(name: str, tmp_path: Path, world: dict[str, str]) -> None:
    folder = saved(family_model(name, max_position_embeddings=4096), tmp_path / "model")
    told = verdict(folder)
    assert told["trains"] == told["exports"] == told["files"] == "ok"
    assert refusal(folder, world, "citi") is None


@pytest.mark.parametrize("kind", OTHERS)
def test_an_architecture_without_a_row_is_what_doctor_says(kind: str, tmp_path: Path, world: dict[str, str]) -> None:
    model, trains = other_model(kind), OTHERS[kind][1]
    folder = saved(model, tmp_path / "model")
    told = verdict(folder)
    assert (told["trains"] == "ok") == trains
    assert told["files"] == "ok"
    assert (refusal(folder, world, "citi", citi_export="none") is None) == trains
    said = refusal(folder, world, "citi")
    assert said is not None
    if trains:
        assert told["exports, and serves with vLLM"] == "warning"
        assert "citi_export: none trains it all the same" in said
        config = MoLoraConfig(target_modules=list(linear_components(model))[:2])
        with pytest.raises(ExtError, match="The adapter works without export"):
            export_citi(get_peft_model(model, config), tiny_tokenizer(), None, tmp_path / "export", "5GB")
        assert not (tmp_path / "export").exists()


@pytest.mark.parametrize("kind", ["gemma3", "llava"])
def test_towers_are_no_components(kind: str) -> None:
    """Text never reaches them, so that their importance of 0 would have them tuned as the least important."""
    model = other_model(kind).eval()
    linears = linear_components(model)
    assert linears
    assert all("language_model" in name for name in linears)
    assert len(linears) == 2 * 7
    ids = torch.arange(5, 25).view(2, 10)
    scores = score_components(
        model, [{"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)}], score="snip"
    )
    assert min(scores.values()) > 0


@pytest.mark.parametrize("row", FAMILIES, ids=lambda row: row.model_type)
def test_a_stray_tower_in_a_text_models_configuration_is_asked_about(row: Any) -> None:
    config = CONFIG_MAPPING[row.model_type]().to_dict()
    assert standing(config).export is None
    assert "vision tower" in (standing(config | {"vision_config": {"depth": 2}}).export or "")


def test_an_export_is_no_base_for_another_export(tmp_path: Path, world: dict[str, str]) -> None:
    export_citi(adapted("qwen3"), tiny_tokenizer(), None, tmp_path / "export", "5GB")
    checks, row = model_checks(tmp_path / "export")
    assert row == ""
    assert "citi_qwen3 is an export" in next(check.found for check in checks if check.what.startswith("exports"))
    assert "citi_qwen3 is an export" in (refusal(tmp_path / "export", world, "citi") or "")


UNRANKED = "the base is quantized by {}, whose linears are no torch.nn.Linear"
UNTUNED = "the base is quantized ({}), and finetuning_type: full cannot move such weights"
NOT_DATA = "the base is quantized ({}), and DATA adapts plain linears only"
# Method, changes, what is said where the linears are of the package's own kind, and of bitsandbytes'.
STORED: list[tuple[str, dict[str, Any], str, str]] = [
    ("citi", {}, UNRANKED, "phase uco cannot tune quantized components; set citi_phases: rp,mi"),
    ("citi", {"stage": "tl_sft", "tl_use_mae": False}, UNRANKED, "phase uco cannot tune quantized components"),
    ("citi", {"citi_phases": "rp,mi"}, UNRANKED, ""),
    ("citi", {"citi_phases": "mi", "citi_adapter": "lora", "citi_num_experts": None}, UNRANKED, ""),
    ("citi", {"citi_phases": "rp,mi", "citi_importance_score": "fisher"}, UNRANKED, ""),
    ("citi", {"citi_phases": "rp,mi", "citi_importance_score": "wanda"}, UNRANKED, "wanda reads the weights"),
    ("citi", {"citi_phases": "rp,mi", "citi_importance_score": "snip"}, UNRANKED, "snip reads the weights"),
    ("data", {}, NOT_DATA, NOT_DATA),
    ("tl_sft", {"finetuning_type": "full"}, UNTUNED, UNTUNED),
    ("tl_ppo", {"finetuning_type": "full"}, UNTUNED, UNTUNED),
    ("tl_sft", {}, "", ""),
    ("tl_ppo", {}, "", ""),
]


@pytest.mark.parametrize(("method", "changes", "packed", "linear"), STORED)
@pytest.mark.parametrize("stored", ["gptq", "awq", "bitsandbytes"])
def test_every_stage_takes_or_refuses_a_base_stored_quantized(
    stored: str,
    method: str,
    changes: dict[str, Any],
    packed: str,
    linear: str,
    tmp_path: Path,
    world: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where the package is installed; without it all are refused, which test_mistakes.py tries."""
    monkeypatch.setattr("llamafactory_ext.upstream.pipeline.named.quantizer_problems", lambda *_: [])
    folder = saved(family_model("llama3", max_position_embeddings=4096), tmp_path / "model")
    stated = {"quant_method": stored, "bits": 4, "load_in_4bit": stored == "bitsandbytes"}
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": stated}), encoding="utf-8")
    said = linear if stored == "bitsandbytes" else packed
    told = refusal(folder, world, method, **changes)
    assert (told is None) == (said == ""), told
    assert said.format(stored) in (told or "")


@pytest.mark.parametrize("stored", ["gptq", "bitsandbytes"])
def test_doctor_says_what_a_quantized_base_allows(
    stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llamafactory_ext.upstream.pipeline.named.quantizer_problems", lambda *_: [])
    folder = saved(family_model("llama3"), tmp_path / "model")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    stated = {"quantization_config": {"quant_method": stored, "load_in_4bit": True}}
    (folder / "config.json").write_text(json.dumps(config | stated), encoding="utf-8")
    lines = {check.what.partition(":")[0]: check for check in model_checks(folder)[0]}
    if stored == "gptq":
        assert lines["trains"].state == "broken"
        assert "name the unquantized model" in lines["trains"].next_step
        return
    assert lines["trains"].state == lines["files"].state == "ok"
    assert lines["phases"].state == lines["exports"].state == "warning"
    assert "set citi_phases: rp,mi" in lines["phases"].next_step
    assert "unquantized base" in lines["exports"].next_step
