"""Tiny random models of every family that is exported, with what sets the family apart, and adapters that act."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import transformers
from peft import PeftModel, get_peft_model
from transformers import PreTrainedModel, set_seed

from llamafactory_ext.citi.importance import linear_components
from llamafactory_ext.families import family_of
from llamafactory_ext.molora import MoLoraConfig

WIDTH, HEAD = 128, 32  # vLLM's CPU kernels know no smaller heads
COMMON: dict[str, Any] = {
    "vocab_size": 384,
    "hidden_size": WIDTH,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 4,
    "pad_token_id": 1,
    "tie_word_embeddings": False,
}
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LONG = {"rope_type": "longrope", "short_factor": [1.0] * 24, "long_factor": [1.5] * 24, "partial_rotary_factor": 0.75}
GEMMA = {"head_dim": HEAD, "query_pre_attn_scalar": HEAD, "sliding_window": 16, "tie_word_embeddings": True}
# Model to its type, and what it has of its own.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama2": ("llama", {"num_key_value_heads": 4}),
    "llama3": ("llama", {"rope_parameters": LLAMA3 | {"original_max_position_embeddings": 128}}),
    "smollm2": ("llama", {"tie_word_embeddings": True}),
    "llama_biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "mistral": ("mistral", {"sliding_window": 16}),
    "mistral_small3": ("mistral", {"sliding_window": None, "head_dim": 64}),
    "phi3": ("phi3", {"sliding_window": 16, "original_max_position_embeddings": 512, "rope_parameters": ROPE}),
    "phi4_mini": (
        "phi3",
        {
            "tie_word_embeddings": True,
            "head_dim": 64,
            "hidden_size": 256,
            "sliding_window": None,
            "original_max_position_embeddings": 512,
            "rope_parameters": LONG | {"rope_theta": 10000.0, "original_max_position_embeddings": 512},
        },
    ),
    "qwen2": ("qwen2", {"tie_word_embeddings": True}),
    "qwen2_5": ("qwen2", {}),
    "qwen3": ("qwen3", {"head_dim": HEAD, "tie_word_embeddings": True}),
    "qwen3_moe": (
        "qwen3_moe",
        {
            "head_dim": HEAD,
            "moe_intermediate_size": 64,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "norm_topk_prob": True,
            "mlp_only_layers": [0],
        },
    ),
    "gemma2": ("gemma2", GEMMA),
    "gemma3": ("gemma3_text", GEMMA | {"layer_types": ["sliding_attention", "full_attention"]}),
    "smollm3": ("smollm3", {"no_rope_layers": [1, 0], "tie_word_embeddings": True}),
    "qwen3_5": (
        "qwen3_5_text",
        {
            "head_dim": HEAD,
            "layer_types": ["linear_attention", "full_attention"],
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 128,  # as Qwen's; vLLM's CPU kernel knows no smaller ones
            "linear_value_head_dim": 128,
        },
    ),
}
PROMPTS = [
    torch.randint(5, 384, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    for length in (3, 9, 40, 17, 26, 5)
]


def family_model(name: str, **changes: Any) -> PreTrainedModel:
    """Return a random model of `MODELS`; biases and norms, which begin as 0 or 1, are moved."""
    model_type, own = MODELS[name]
    row = family_of(model_type)
    assert row is not None
    config = getattr(transformers, row.config)(**(COMMON | own | changes))
    set_seed(0)
    model: PreTrainedModel = getattr(transformers, row.model)(config).eval()
    drawn = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape, generator=drawn) * 0.1)
        if "gemma" in name:  # multiplied by the root of the width, embeddings would drown what the layers add
            model.get_input_embeddings().weight.mul_(0.1)
    assert model.generation_config is not None
    model.generation_config.do_sample = False
    return model


def adapted(name: str, model: PreTrainedModel | None = None, *, neutral: bool = True) -> PeftModel:
    """Return a model with an acting adapter on two of three linears, and the others tuned."""
    model = model or family_model(name)
    linears = list(linear_components(model))
    config = MoLoraConfig(
        target_modules=[linear for number, linear in enumerate(linears) if number % 3],
        modules_to_save=linears[::3],
        num_experts=3,
        alpha=60.0,
        neutral_gate=neutral,
        init_weights=False,
    )
    torch.manual_seed(2)
    made: PeftModel = get_peft_model(model, config).eval()
    with torch.no_grad():
        for parameter_name, parameter in made.named_parameters():
            if ".modules_to_save." in parameter_name:
                parameter.mul_(1.5)
    return made


def greedy(model: Any, tokens: int = 12) -> Iterator[list[int]]:
    """Return what a model answers to each prompt, with a cache."""
    for prompt in PROMPTS:
        ids = torch.tensor([prompt])
        settings = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False, "pad_token_id": 1}
        yield model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **settings)[0, len(prompt) :].tolist()
