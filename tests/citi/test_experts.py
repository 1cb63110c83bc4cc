"""What of a mixture of experts is a component: one rule for log, card and doctor, over transformers' architectures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from llamafactory_ext.citi.architecture import Architecture
from llamafactory_ext.citi.importance import linear_components
from llamafactory_ext.citi.run.adapters import describe_experts
from llamafactory_ext.training.parameters import expert_tensors

pytestmark = pytest.mark.fast
SMALL = {
    "vocab_size": 400,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
DBRX = {
    "d_model": 64,
    "n_heads": 4,
    "n_layers": 2,
    "max_seq_len": 128,
    "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 1e4},
    "ffn_config": {"ffn_hidden_size": 64, "moe_num_experts": 4, "moe_top_k": 2, "hidden_size": 64},
}
# Architecture to what its configuration needs, and the names of its routers that are linears.
MIXTURES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "afmoe": ({}, {"gate"}),
    "aria_text": ({}, {"router"}),
    "dbrx": (DBRX, {"layer"}),
    "deepseek_v2": ({}, {"gate"}),
    "deepseek_v3": ({"first_k_dense_replace": 1}, set()),
    "ernie4_5_moe": ({}, set()),
    "flex_olmo": ({"pad_token_id": 1}, set()),
    "glm4_moe": ({}, set()),
    "gpt_oss": ({"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 16}, set()),
    "granitemoe": ({}, {"layer"}),
    "jamba": ({"num_hidden_layers": 4}, {"router"}),
    "jetmoe": ({"num_local_experts": 4, "num_experts_per_tok": 2, "kv_channels": 16}, {"layer"}),
    "llama4_text": ({}, {"router"}),
    "minimax": ({}, set()),
    "mixtral": ({}, set()),
    "olmoe": ({}, set()),
    "phimoe": ({}, {"router"}),
    "qwen2_moe": ({}, {"shared_expert_gate"}),
    "qwen3_moe": ({}, set()),
    "qwen3_next": ({}, {"shared_expert_gate"}),
}
DENSE = ("llama", "qwen3", "gemma3_text", "qwen3_5_text", "recurrent_gemma", "mamba", "rwkv", "gemma4_text")


def model_of(kind: str) -> nn.Module:
    config = CONFIG_MAPPING[kind](**(SMALL | MIXTURES.get(kind, ({}, set()))[0]))
    with torch.device("meta"):
        model: nn.Module = AutoModelForCausalLM.from_config(config)
    return model


def is_plain(name: str, owner: nn.Module) -> bool:
    """Whether a matrix that is neither component nor expert has an everyday reason, or chooses among experts."""
    kinds = (nn.Embedding, nn.modules.conv._ConvNd)
    said = f"{name} {type(owner).__name__}"
    if isinstance(owner, nn.Linear):
        return name.startswith("lm_head")
    return isinstance(owner, kinds) or re.search(r"Router|A_log|e_score_correction_bias", said) is not None


@pytest.mark.parametrize("kind", MIXTURES)
def test_every_matrix_is_a_component_or_said_to_be_left(kind: str, tmp_path: Path) -> None:
    model = model_of(kind)
    components, left = linear_components(model), expert_tensors(model)
    routers = {
        name.removesuffix(".weight")
        for name, weight in model.named_parameters()
        if weight.dim() > 1
        and name.removesuffix(".weight") not in components
        and name not in left
        and not is_plain(name, model.get_submodule(name.rpartition(".")[0]))
    }
    assert {name.rpartition(".")[2] for name in routers} == MIXTURES[kind][1]
    assert all(isinstance(model.get_submodule(name), nn.Linear) for name in routers)
    line = describe_experts(model)
    assert line is not None
    assert f"{sum(left.values()):,} of" in line
    assert (f"So do the {len(routers)} linears that choose among experts" in line) == bool(routers)
    model.config.save_pretrained(tmp_path)  # type: ignore[operator, union-attr]
    found = Architecture(tmp_path)
    assert sum(found.experts.values()) == sum(left.values())
    assert sum(found.kinds.values()) == len(components)


@pytest.mark.parametrize("kind", DENSE)
def test_a_model_without_experts_leaves_none(kind: str) -> None:
    model = model_of(kind)
    assert expert_tensors(model) == {}
    assert describe_experts(model) is None
