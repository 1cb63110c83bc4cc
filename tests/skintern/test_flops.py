"""FLOPs by formula equal those that torch counts."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import tiny
from llamafactory_ext.errors import OptionError
from llamafactory_ext.skintern.flops import (
    ModelSize,
    cache_bytes,
    generation_flops,
    reference_macs,
    training_flops,
)

CASES = {"mha": {"num_key_value_heads": 4}, "gqa": {"num_key_value_heads": 2}, "tied": {"tie_word_embeddings": True}}


def model_of(case: str) -> torch.nn.Module:
    from transformers import AutoModelForCausalLM

    config = tiny.tiny_config("llama", layers=3, hidden_size=128, intermediate_size=256, **CASES[case])
    # The counter does not see the products within scaled_dot_product_attention on a CPU.
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("prompt", "generated"), [(7, 1), (33, 9)])
def test_generation_costs_what_torch_counts(case: str, prompt: int, generated: int) -> None:
    model = model_of(case)
    size = ModelSize.of(model.config.to_dict())
    inputs = torch.randint(5, 300, (1, prompt))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            max_new_tokens=generated,
            min_new_tokens=generated,
            do_sample=False,
            pad_token_id=1,
            eos_token_id=None,
        )
    assert generation_flops(size, prompt, generated) == pytest.approx(counter.get_total_flops(), rel=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_the_published_count_is_that_of_the_weights(case: str) -> None:
    model = model_of(case)
    size = ModelSize.of(model.config.to_dict())
    linears = sum(module.weight.numel() for module in model.modules() if isinstance(module, nn.Linear))
    assert reference_macs(size, 10) == 10 * linears


def test_a_cache_holds_keys_and_values_of_every_token() -> None:
    model = model_of("gqa")
    size = ModelSize.of(model.config.to_dict())
    cache = model(torch.randint(5, 300, (1, 11)), use_cache=True).past_key_values
    held = sum(part.numel() for layer in cache.layers for part in (layer.keys, layer.values))
    assert cache_bytes(size, 8, 3, bytes_per_number=4) == 4 * held


def test_training_costs_three_passes_and_a_frozen_base_two() -> None:
    size = ModelSize(linear=100, head=10, layers=1, heads_width=4, kv_width=4)
    assert training_flops(size, 3) == 3 * 6 * 110
    assert training_flops(size, 3, adapter=7) == 3 * (4 * 110 + 6 * 7)


@pytest.mark.parametrize("changes", [{"num_experts": 8}, {"hidden_size": None}, {"intermediate_size": 0}])
def test_other_architectures_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(OptionError, match="config"):
        ModelSize.of({**tiny.tiny_config("llama").to_dict(), **changes})


def test_no_token_has_no_cost() -> None:
    size = ModelSize(linear=100, head=10, layers=1, heads_width=4, kv_width=4)
    with pytest.raises(OptionError, match="at least 1"):
        generation_flops(size, 0, 3)
