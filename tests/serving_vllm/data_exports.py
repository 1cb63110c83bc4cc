"""Exported tiny DATA models whose pairs and gates act."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen2Config, Qwen3Config

from llamafactory_ext.data_method.export import export_data
from llamafactory_ext.duo import DataAdapterConfig
from tiny import tiny_config, tiny_model, tiny_tokenizer

ARCHITECTURES = ("llama", "mistral", "phi3", "qwen2", "qwen3")
WIDTHS = {"hidden_size": 128, "intermediate_size": 192}  # heads of 32: vLLM's CPU kernels know no smaller ones


def base_of(architecture: str, **changes: Any) -> PreTrainedModel:
    """A tiny random model of three layers."""
    if architecture not in ("qwen2", "qwen3"):
        return tiny_model(architecture, **({"layers": 3, **WIDTHS} | changes))
    kind = {"qwen2": Qwen2Config, "qwen3": Qwen3Config}[architecture]
    given = tiny_config("llama", **({"layers": 3, **WIDTHS} | changes)).to_dict()
    shared = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
              "num_key_value_heads", "max_position_embeddings", "initializer_range", "bos_token_id", "eos_token_id",
              "pad_token_id", "tie_word_embeddings")  # fmt: skip
    torch.manual_seed(0)
    config = kind(**{name: given[name] for name in shared}, **({"head_dim": 32} if architecture == "qwen3" else {}))
    return AutoModelForCausalLM.from_config(config).eval()


def adapted(architecture: str = "llama", tasks: int = 2, dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
    """A base with pairs that act strongly and gates that differ between tokens; groups of two layers and of one."""
    shape = {"low_rank": 2, "high_rank": 4, "components": 4, "layers_per_gate": 2} | changes
    base = base_of(architecture).to(dtype)
    torch.manual_seed(1)
    model = get_peft_model(base, DataAdapterConfig(init_weights=False, **shape)).eval()
    for number in range(1, tasks):
        model.base_model.add_task(f"task {number}")
    with torch.no_grad():
        for linear in model.base_model.linears().values():
            linear.weights("default")[1].mul_(8)
        for gate in model.base_model.gates().values():
            for name in ("new_K", "new_W", "old_K", "old_W"):
                getattr(gate, name).add_(0.3)
    return model


def export(folder: Path, architecture: str = "llama", **changes: Any) -> Path:
    """Write an exported model."""
    export_data(adapted(architecture, **changes), tiny_tokenizer(), None, folder, "5GB")
    return folder
