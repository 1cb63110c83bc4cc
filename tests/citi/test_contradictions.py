"""Configurations that contradict themselves or the weights beside them: said in a line, before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import llamafactory.train.tuner  # noqa: F401  # as the command does: upstream first
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from family_models import COMMON, MODELS, family_model
from llamafactory_ext.citi.trial import trial_of
from llamafactory_ext.families import family_of
from llamafactory_ext.upstream.pipeline.named import local_problems
from tiny import tiny_tokenizer

pytestmark = pytest.mark.fast
WEIGHTS = "model.safetensors"


def saved(name: str, folder: Path, changes: dict[str, Any] | None = None) -> Path:
    """A right folder, of whose config.json some values are changed."""
    family_model(name).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config | (changes or {})), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", MODELS)
def test_a_right_folder_is_not_asked_about(name: str, tmp_path: Path) -> None:
    assert local_problems(saved(name, tmp_path)) == []


# Family, what its config.json says instead, what is told. Loading would go on with random weights, or without some.
CONTRADICTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("qwen3", {"model_type": "llama"}, "hold model.layers.0.self_attn.k_norm.weight and 3 more, for which a llama"),
    ("qwen2", {"model_type": "llama"}, "hold model.layers.0.self_attn.k_proj.bias and 5 more, for which a llama"),
    ("gemma3", {"model_type": "gemma2"}, "hold model.layers.0.self_attn.k_norm.weight and 3 more"),
    ("gemma2", {"model_type": "llama"}, "hold model.layers.0.post_feedforward_layernorm.weight and 3 more"),
    ("phi3", {"model_type": "llama"}, "lack model.layers.0.self_attn.q_proj.weight"),
    ("llama_biases", {"attention_bias": False}, "hold model.layers.0.self_attn.k_proj.bias and 7 more"),
    ("llama_biases", {"mlp_bias": False}, "hold model.layers.0.mlp.down_proj.bias and 5 more"),
    ("llama3", {"attention_bias": True}, "lack model.layers.0.self_attn.q_proj.bias"),
    ("llama3", {"num_hidden_layers": 1}, "hold model.layers.1.input_layernorm.weight and 8 more"),
    ("llama3", {"num_hidden_layers": 3}, "lack model.layers.2.self_attn.q_proj.weight and 8 more"),
    ("qwen3_moe", {"num_local_experts": 2}, "mlp.gate.weight is [4, 128] in its files, and [2, 128] by its config"),
    ("qwen3_moe", {"num_local_experts": 8}, "mlp.gate.weight is [4, 128] in its files, and [8, 128] by its config"),
    ("qwen3_moe", {"moe_intermediate_size": 32}, "experts have other sizes in its files than by its config.json"),
    ("qwen3_5", {"layer_types": ["full_attention"] * 2}, "lack model.layers.0.self_attn.q_proj.weight"),
    ("qwen3_5", {"layer_types": ["linear_attention"] * 2}, "lack model.layers.1.linear_attn."),
    ("qwen3_5", {"num_hidden_layers": 1, "layer_types": ["linear_attention"]}, "hold model.layers.1."),
    ("qwen3_5", {"intermediate_size": 96}, "mlp.down_proj.weight is [128, 192] in its files, and [128, 96] by"),
]


@pytest.mark.parametrize(("name", "changes", "told"), CONTRADICTIONS)
def test_a_configuration_that_contradicts_its_weights(
    name: str, changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    (problem,) = local_problems(saved(name, tmp_path, changes))
    assert told in problem
    assert "; get the model again" in problem or "; correct what it says of" in problem


def test_experts_that_the_files_lack_or_have_too_many_are_counted(tmp_path: Path) -> None:
    folder = saved("qwen3_moe", tmp_path)
    found = load_file(folder / WEIGHTS)
    fewer = {name: tensor for name, tensor in found.items() if ".experts.3." not in name}
    more = found | {name.replace(".3.", ".4."): found[name].clone() for name in found if ".experts.3." in name}
    for changed, count in ((fewer, 3), (more, 5)):
        save_file(changed, folder / WEIGHTS, metadata={"format": "pt"})
        (problem,) = local_problems(folder)
        assert f"model.layers.1.mlp.experts are {count} in its files, and 4 by its config.json; get the" in problem


# Tensors beside the layers, or that are computed at loading: files of right models have them, too.
BESIDE = {
    "qwen3_5": {"mtp.layers.0.mlp.up_proj.weight": [4, 4]},
    "mistral": {"v_head.summary.weight": [1, 128]},
    "llama2": {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": [16] for i in (0, 1)},
    "smollm2": {"lm_head.weight": [384, 128]},
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_lies_beside_the_layers_is_nobodys_fault(name: str, tmp_path: Path) -> None:
    folder = saved(name, tmp_path)
    more = {tensor: torch.zeros(shape) for tensor, shape in BESIDE[name].items()}
    save_file(load_file(folder / WEIGHTS) | more, folder / WEIGHTS, metadata={"format": "pt"})
    assert local_problems(folder) == []


@pytest.mark.parametrize(
    ("name", "changes", "problem"),
    [
        ("qwen3_moe", {"num_experts_per_tok": 9}, "index k out of range"),
        ("qwen3_moe", {"num_experts": 64, "num_experts_per_tok": 65}, "index k out of range"),
        ("qwen3_moe", {"num_experts": 64, "num_experts_per_tok": 64}, None),
        ("gemma3", {"use_bidirectional_attention": True}, "reads in both directions"),
        *((name, {}, None) for name in MODELS),
    ],
)
def test_a_tiny_model_does_not_hide_what_the_large_one_meets(
    name: str, changes: dict[str, Any], problem: str | None
) -> None:
    kind, own = MODELS[name]
    row = family_of(kind)
    assert row is not None
    found = trial_of(getattr(transformers, row.config)(**(COMMON | own | changes))).problem
    assert (found is None) == (problem is None), found
    assert (problem or "") in (found or "")


@pytest.mark.parametrize(
    "kind", ["bamba", "deepseek_v3", "falcon", "gemma4_text", "granitemoehybrid", "llama4_text", "ministral3"]
)
def test_published_sizes_of_architectures_without_a_row_are_found_out(kind: str) -> None:
    """Second sizes of heads, states beside attention, positions with scales, linears whose outputs change in place."""
    if kind not in transformers.CONFIG_MAPPING:
        pytest.skip(f"transformers {transformers.__version__} has no {kind}")
    assert trial_of(transformers.CONFIG_MAPPING[kind]()).problem is None
