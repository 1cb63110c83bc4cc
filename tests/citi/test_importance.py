"""Importance by activations equals |sum(W * dL/dW)|, for every architecture, batching and reduction."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, set_seed

from llamafactory_ext.citi.importance import linear_components, part_scores, score_components, tied_components
from llamafactory_ext.errors import OptionError
from llamafactory_ext.training.losses import summed_nll
from tiny import ARCHITECTURES, tiny_model

pytestmark = pytest.mark.fast


def data(rows: int = 4, length: int = 9) -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 384, (rows, length), generator=torch.Generator().manual_seed(0))
    labels = ids.clone()
    labels[:, :3] = -100
    return {"input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids)}


def split(batch: dict[str, torch.Tensor], size: int) -> list[dict[str, torch.Tensor]]:
    rows = len(batch["input_ids"])
    return [{key: value[i : i + size] for key, value in batch.items()} for i in range(0, rows, size)]


def by_weight_gradients(model: nn.Module, batches: list[dict[str, torch.Tensor]]) -> dict[str, float]:
    """Signed sums of W * dL/dW over the batches, absolute value at the end."""
    components = linear_components(model)
    sums = dict.fromkeys(components, 0.0)
    for batch in batches:
        model.zero_grad()
        inputs = {key: value for key, value in batch.items() if key != "labels"}
        summed_nll(model(**inputs).logits, batch["labels"]).backward()
        for name, module in components.items():
            sums[name] += (module.weight * module.weight.grad).sum().item()
    return {name: abs(value) for name, value in sums.items()}


def with_biases(model: nn.Module) -> nn.Module:
    for module in linear_components(model).values():
        module.bias = nn.Parameter(torch.randn(module.out_features, dtype=module.weight.dtype))
    return model


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_equals_the_weight_gradients_in_float64(architecture: str, bias: bool) -> None:
    torch.manual_seed(0)
    model = tiny_model(architecture, dtype=torch.float64)
    model = with_biases(model) if bias else model
    expected = by_weight_gradients(model, [data()])
    scores = score_components(model, split(data(), 2))
    assert list(scores) == list(expected)
    assert all(abs(scores[name] - expected[name]) <= 1e-12 * max(1, expected[name]) for name in expected)


def test_phi3_counts_its_fused_linears_as_one_component_each() -> None:
    names = {name.rsplit(".", 1)[1] for name in linear_components(tiny_model("phi3"))}
    assert names == {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}


def test_batching_and_padding_do_not_matter() -> None:
    model = tiny_model(dtype=torch.float64)
    whole = score_components(model, [data()])
    batch = data()
    padded = {
        "input_ids": nn.functional.pad(batch["input_ids"], (0, 3), value=1),
        "labels": nn.functional.pad(batch["labels"], (0, 3), value=-100),
        "attention_mask": nn.functional.pad(batch["attention_mask"], (0, 3)),
    }
    for batches in (split(batch, 1), split(batch, 3), [padded]):
        scores = score_components(model, batches)
        assert all(abs(scores[name] - whole[name]) < 1e-10 for name in whole)


def test_early_absolute_values_are_other_formulas() -> None:
    model = tiny_model(dtype=torch.float64)
    single = split(data(), 1)
    scores = {reduction: score_components(model, single, reduction) for reduction in ("dataset", "example", "token")}
    per_example = [by_weight_gradients(model, [batch]) for batch in single]
    for name in scores["dataset"]:
        assert abs(scores["example"][name] - sum(example[name] for example in per_example)) < 1e-10
        assert scores["dataset"][name] <= scores["example"][name] + 1e-12
        assert scores["example"][name] <= scores["token"][name] + 1e-12
    in_pairs = score_components(model, split(data(), 2), "example")
    assert all(abs(in_pairs[name] - scores["example"][name]) < 1e-10 for name in in_pairs)
    by_batch = score_components(model, single, "batch")
    assert all(abs(by_batch[name] - scores["example"][name]) < 1e-10 for name in by_batch)


def test_scale_symmetry_ties_q_k_and_v_o_and_up_down() -> None:
    scores = score_components(tiny_model(dtype=torch.float64), [data()])
    for a, b in (("self_attn.q_proj", "self_attn.k_proj"), ("self_attn.v_proj", "self_attn.o_proj")):
        assert scores[f"model.layers.0.{a}"] == pytest.approx(scores[f"model.layers.0.{b}"], rel=1e-9)
    assert scores["model.layers.0.mlp.up_proj"] == pytest.approx(scores["model.layers.0.mlp.down_proj"], rel=1e-9)


def test_checkpointing_changes_nothing_and_the_model_is_left_as_it_was() -> None:
    model = tiny_model(dtype=torch.float64)
    plain = score_components(model, [data()])
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    hooks = [dict(module._forward_hooks) for module in model.modules()]
    assert score_components(model, [data()]) == plain
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert [dict(module._forward_hooks) for module in model.modules()] == hooks


def test_a_failing_batch_leaves_no_tap_behind() -> None:
    model = tiny_model()
    with pytest.raises(KeyError):
        score_components(model, [{"input_ids": data()["input_ids"]}])
    assert not any(module._forward_hooks for module in model.modules())


def test_a_model_without_linears_and_data_without_targets_are_named() -> None:
    with pytest.raises(OptionError, match="no linear modules"):
        linear_components(nn.Sequential(nn.Embedding(4, 4)))
    batch = data()
    with pytest.raises(OptionError, match="no token of the data is trained"):
        score_components(tiny_model(), [batch | {"labels": torch.full_like(batch["labels"], -100)}])


# Ties


def taps(model: nn.Module) -> int:
    return len(linear_components(model)) - len(tied_components(model, linear_components(model)))


def test_tied_components_share_a_tap_and_a_score() -> None:
    """Four taps a layer; the shared scores are those of the weight gradients of both."""
    for architecture, per_layer in (("llama", 4), ("mistral", 4), ("phi3", 4)):
        assert taps(tiny_model(architecture, layers=3)) == 3 * per_layer
    model = tiny_model(dtype=torch.float64)
    scores, expected = score_components(model, [data()]), by_weight_gradients(model, [data()])
    for name, stands_for in tied_components(model, linear_components(model)).items():
        assert scores[name] == scores[stands_for]
        assert scores[name] == pytest.approx(expected[name], abs=1e-12)


@pytest.mark.parametrize(
    ("biased", "untied"),
    [("q_proj", 1), ("k_proj", 1), ("v_proj", 1), ("o_proj", 0), ("up_proj", 1), ("down_proj", 0), ("gate_proj", 0)],
)
def test_a_bias_that_breaks_a_tie_is_seen(biased: str, untied: int) -> None:
    model = tiny_model(dtype=torch.float64, layers=1)
    for name, module in linear_components(model).items():
        if name.endswith(biased):
            module.bias = nn.Parameter(torch.randn(module.out_features, dtype=module.weight.dtype))
    assert taps(model) == 4 + untied
    scores, expected = score_components(model, [data()]), by_weight_gradients(model, [data()])
    assert all(abs(scores[name] - expected[name]) <= 1e-12 * max(1, expected[name]) for name in expected)


# Scores that vanish by construction


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("model_type", "kinds"),
    [
        ("llama", set()),
        ("qwen2", set()),
        ("qwen3", {"q_proj", "k_proj"}),
        ("gemma2", {"v_proj", "o_proj", "up_proj", "down_proj"}),
        ("olmo2", {"q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"}),
    ],
)
def test_scores_that_a_norm_makes_vanish_are_named(model_type: str, kinds: set[str], dtype: torch.dtype) -> None:
    set_seed(0)
    config = CONFIG_MAPPING[model_type](
        vocab_size=384,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        pad_token_id=1,
        initializer_range=0.2,
    )
    model = AutoModelForCausalLM.from_config(config).to(dtype)
    found = part_scores(model, split(data(8, 40), 2))
    assert {name.rsplit(".", 1)[1] for name in found.vanishing} == kinds
    assert len(found.vanishing) == 2 * len(kinds), "in every layer"
