"""A tiny model of an architecture with random weights, scored and trained for a step: whether the real one can be."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from peft import TaskType, get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedConfig

from ..errors import OptionError
from ..molora import MoLoraConfig
from ..training.losses import summed_nll
from ..training.skeleton import is_own_code, random_model, skeleton
from .importance import linear_components, part_scores

# Sizes of the tiny model, by their names in configurations; others stay, such as switches and activations.
_SMALL: Mapping[str, int] = {
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "global_head_dim": 16,
    "qk_rope_head_dim": 16,
    "q_lora_rank": 32,
    "kv_lora_rank": 16,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "hidden_size_per_layer_input": 16,
    "vocab_size_per_layer_input": 128,
    "max_position_embeddings": 256,
    "original_max_position_embeddings": 256,
    "sliding_window": 8,
    "num_kv_shared_layers": 0,
    "chunk_size": 8,
    "mamba_chunk_size": 8,
}
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
_DEPTHS = ("num_hidden_layers", "depth")
_HEADS = ("num_attention_heads", "num_key_value_heads", "head_dim", "global_head_dim", "qk_rope_head_dim")
# What positions need beside their kind, which small models have plain.
_OF_ROPE = ("rope_theta", "partial_rotary_factor", "llama_4_scaling_beta", "original_max_position_embeddings")
_TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
_LAYERS = 8  # at most, so that each kind of layer is among them
_TINY = 300_000_000  # parameters; a model that stays larger has sizes that are not known here
_tried: dict[str, Trial] = {}  # by the configuration, as runs of one process often have one model


@dataclass(frozen=True)
class Trial:
    """What a tiny model of the architecture showed.

    Attributes:
        problem: why it cannot be trained, in words; None where it can.
        vanishing: kinds of linears for which eq. 4 is 0 by construction.
    """

    problem: str | None
    vanishing: tuple[str, ...] = ()


def trial_of(config: PreTrainedConfig) -> Trial:
    """Return what a step of a tiny model shows.

    Args:
        config: of the large one.
    """
    key = f"{type(config).__name__} {config.to_json_string(use_diff=False)}"
    if key not in _tried:
        _tried[key] = _tried_now(config)
    return _tried[key]


def vanishing_components(model: nn.Module) -> tuple[str, ...] | None:
    """Return the components of a model for which eq. 4 is 0 by construction, as a tiny model of it shows.

    None where nothing is known: the model brings code of its own, or the tiny one cannot be trained.

    Args:
        model: with its weights, or on the meta device.
    """
    config: Any = getattr(model, "config", None)
    if not isinstance(config, PreTrainedConfig) or is_own_code(config) or (found := trial_of(config)).problem:
        return None
    return tuple(name for name in linear_components(model) if name.rpartition(".")[2] in found.vanishing)


def _tried_now(config: PreTrainedConfig) -> Trial:
    text = getattr(config, "text_config", None)
    config = text if type(text) in AutoModelForCausalLM._model_mapping else config
    said = ""
    for kept in ((), _HEADS):  # some architectures make heads of other numbers too
        try:
            return _trained(shrunk(config, kept))
        except Exception as error:  # of the architecture's own code
            said = said or f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return Trial(f"a tiny model of it could not be trained ({said})")


def shrunk(config: PreTrainedConfig, kept: Sequence[str] = ()) -> PreTrainedConfig:
    """Return the configuration of a tiny model of the same architecture, with a layer of each kind.

    Args:
        config: of the large one.
        kept: sizes to leave as they are.
    """
    small = copy.deepcopy(config)
    for name, size in _SMALL.items():
        if name not in kept and isinstance(found := getattr(small, name, None), int) and found > size:
            setattr(small, name, size)
    if _asks_too_many(config):
        small.num_experts_per_tok = config.num_experts_per_tok
    for name, token in _TOKENS.items():
        if getattr(small, name, None) is not None:
            setattr(small, name, token)
    heads, shared = (getattr(config, name, None) for name in ("num_attention_heads", "num_key_value_heads"))
    if heads is not None and heads == shared:
        small.num_key_value_heads = small.num_attention_heads
    if getattr(small, "mamba_d_ssm", None) is None and hasattr(small, "mamba_n_heads"):
        small.mamba_n_heads = max(1, small.mamba_expand * small.hidden_size // small.mamba_d_head)
    _shorten(small)
    small.rope_parameters = _plain_rope(getattr(small, "rope_parameters", None))
    small.initializer_range = 0.2
    small._experts_implementation = "eager"
    for name, part in vars(config).items():
        if isinstance(part, PreTrainedConfig):
            setattr(small, name, shrunk(part, kept))
    return small


def _asks_too_many(config: Any) -> bool:
    """Tell whether a token is to go to more experts than there are, which small sizes must not hide."""
    asked = getattr(config, "num_experts_per_tok", None)
    counts = [count for name in _EXPERTS if isinstance(count := getattr(config, name, None), int)]
    return bool(counts) and isinstance(asked, int) and asked > max(counts)


def _shorten(config: PreTrainedConfig) -> None:
    """Leave as few layers as have each kind among them."""
    kinds: Sequence[str] = getattr(config, "layer_types", None) or ()
    count = next((n for n in range(2, _LAYERS + 1) if {*kinds[:n]} == {*kinds}), _LAYERS)
    for name in _DEPTHS:
        if isinstance(total := getattr(config, name, None), int):
            setattr(config, name, min(count, total))
    for name in ("layer_types", "no_rope_layers", "mlp_layer_types"):
        if isinstance(found := getattr(config, name, None), list):
            with contextlib.suppress(AttributeError):  # some compute it
                setattr(config, name, found[: config.num_hidden_layers])


def _plain_rope(rope: Any) -> Any:
    """Rotary positions without stretching, whose tables have the size of the large model's heads."""
    if not isinstance(rope, Mapping):
        return rope
    if any(isinstance(part, Mapping) for part in rope.values()):
        return {name: _plain_rope(part) for name, part in rope.items()}
    kept = {name: value for name, value in rope.items() if name in _OF_ROPE}
    return {"rope_type": "default", **kept}


def _trained(config: PreTrainedConfig) -> Trial:
    """Score a random tiny model by eq. 4, and train MOLoRA on all of its linears for a step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if (count := sum(weight.numel() for weight in skeleton(config).parameters())) > _TINY:
            raise OptionError(f"with small sizes it still has {count:,} parameters.")
        model: Any = random_model(config).eval()
        for name, value in model.named_parameters():
            if value.dim() == 1 and name.endswith("bias"):
                nn.init.normal_(value, std=0.1)  # 0 would hide that a norm does see the scale of W beside a bias
            elif value.dim() == 1 and "norm" in name:
                nn.init.ones_(value)
        ids = torch.randint(3, model.get_input_embeddings().weight.shape[0], (8, 24))
        batch = {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)}
        if _reads_ahead(model, ids):
            return Trial("a tiny model of it reads in both directions, so that tokens see what they are to write")
        found = part_scores(model, [batch])
        names = list(found.sums)
        molora = MoLoraConfig(task_type=TaskType.CAUSAL_LM, target_modules=names, num_experts=2, r=2)
        adapted: Any = get_peft_model(model, molora).train()
        summed_nll(adapted(input_ids=ids, use_cache=False).logits, ids).backward()
    moved = [weight.grad for weight in adapted.parameters() if weight.requires_grad]
    if not all(grad is not None and bool(grad.isfinite().all()) for grad in moved):
        return Trial("a tiny model of it trains with gradients that are missing or not finite")
    kinds = dict.fromkeys(name.rpartition(".")[2] for name in found.vanishing)
    return Trial(None, tuple(kinds))


def _reads_ahead(model: Any, ids: torch.Tensor) -> bool:
    """Tell whether what a model says at a token depends on those that follow."""
    other = ids.clone()
    other[:, -1] = ids[:, -1].roll(1)
    with torch.no_grad():
        said, also = (model(input_ids=rows, use_cache=False).logits[:, :-1] for rows in (ids, other))
    return bool(((said - also).abs() > 1e-3 * (1 + said.abs())).any())
