"""Exported tiny CITI models whose adapters act, and what transformers generates with them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM

from llamafactory_ext.citi.export import export_citi
from llamafactory_ext.molora import MoLoraConfig
from tiny import tiny_model, tiny_tokenizer

# Single ones of fused q, k, v and gate, up; two of them; all; inputs spread by tensor parallelism (o, down).
TARGETS = {
    "llama": [
        "model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj", "model.layers.0.self_attn.o_proj",
        "model.layers.1.self_attn.k_proj", "model.layers.1.mlp.up_proj", "model.layers.1.mlp.down_proj",
    ],
    "mistral": ["model.layers.0.self_attn.o_proj", "model.layers.1.mlp.up_proj", "model.layers.1.mlp.gate_proj"],
    "phi3": ["model.layers.0.self_attn.qkv_proj", "model.layers.1.mlp.gate_up_proj", "model.layers.1.mlp.down_proj"],
}  # fmt: skip
TUNED = {
    "llama": ["model.layers.0.mlp.gate_proj", "model.layers.1.self_attn.v_proj"],
    "mistral": ["model.layers.0.mlp.down_proj"],
    "phi3": ["model.layers.0.mlp.gate_up_proj"],
}
WIDTHS = {"hidden_size": 128, "intermediate_size": 192}  # heads of 32: vLLM's CPU kernels know no smaller ones
TOKENS = 16


def export(folder: Path, architecture: str = "llama", *, neutral: bool = True, **changes: Any) -> Path:
    """Writes an exported model whose experts and tuned linears act strongly."""
    config = MoLoraConfig(
        target_modules=TARGETS[architecture],
        modules_to_save=TUNED[architecture],
        alpha=40.0,
        neutral_gate=neutral,
        init_weights=False,
    )
    torch.manual_seed(1)
    model = get_peft_model(tiny_model(architecture, **(WIDTHS | changes)), config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".modules_to_save." in name:
                parameter.mul_(1.5)
    export_citi(model, tiny_tokenizer(), None, folder, "5GB")
    return folder


@cache
def prompts() -> list[list[int]]:
    """Token ids of five prompts, two of which begin alike."""
    drawn = torch.Generator().manual_seed(0)
    found = [torch.randint(5, 384, (length,), generator=drawn).tolist() for length in (3, 9, 70, 17)]
    return [*found, found[2][:64] + found[1]]


def reference(folder: Path, prompt: list[int], answer: list[int]) -> tuple[list[int], list[float]]:
    """Transformers on the same directory: the likeliest token at each place of `answer`, and the logprob of it."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
    best = logits.log_softmax(-1).max(-1)
    return best.indices.tolist(), best.values.tolist()
