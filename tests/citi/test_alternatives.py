"""The scores that stand in for eq. 4 equal their published formula, written down with plain autograd in float64."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, set_seed

from llamafactory_ext.citi import alternatives
from llamafactory_ext.citi.importance import VanishingError, linear_components, part_scores, score_components
from llamafactory_ext.errors import OptionError
from llamafactory_ext.training.losses import summed_nll
from tiny import ARCHITECTURES, tiny_model

pytestmark = pytest.mark.fast
Batch = dict[str, torch.Tensor]
LENGTHS = (9, 6, 9, 7, 4)
# Norms on q and k, norms behind both sub-layers, both of them, and none; experts behind a router.
NORMED = {"qwen3": {"q_proj", "k_proj"}, "gemma2": {"v_proj", "o_proj", "up_proj", "down_proj"}}
OTHERS = ("qwen2", "qwen3", "gemma2", "gemma3_text", "olmo2", "smollm3", "mixtral")


def other_model(model_type: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    set_seed(0)
    config = CONFIG_MAPPING[model_type](
        vocab_size=384,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        pad_token_id=1,
        initializer_range=0.2,
    )
    config._experts_implementation = "eager"  # the fused one has no float64
    return AutoModelForCausalLM.from_config(config).to(dtype).eval()


def model_of(name: str) -> nn.Module:
    return tiny_model(name, dtype=torch.float64) if name in ARCHITECTURES else other_model(name)


def data() -> Batch:
    """Padded examples of several lengths, the first third of each without a loss."""
    ids = torch.randint(5, 384, (len(LENGTHS), max(LENGTHS)), generator=torch.Generator().manual_seed(0))
    labels, mask = ids.clone(), torch.zeros_like(ids)
    for i, length in enumerate(LENGTHS):
        mask[i, :length] = 1
        labels[i, : length // 3] = labels[i, length:] = -100
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}


def split(batch: Batch, size: int) -> list[Batch]:
    rows = len(batch["input_ids"])
    return [{key: value[i : i + size] for key, value in batch.items()} for i in range(0, rows, size)]


def unpadded() -> list[Batch]:
    """Each example alone, without its padding."""
    return [{key: value[i : i + 1, :length] for key, value in data().items()} for i, length in enumerate(LENGTHS)]


def by_gradients(model: nn.Module, of: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> dict[str, float]:
    """The sum over examples of a function of each weight and its gradient."""
    components, sums = linear_components(model), {}
    for example in unpadded():
        model.zero_grad()
        inputs = {key: value for key, value in example.items() if key != "labels"}
        summed_nll(model(**inputs).logits, example["labels"]).backward()
        for name, module in components.items():
            sums[name] = sums.get(name, 0.0) + of(module.weight, module.weight.grad).sum().item()
    return sums


def naive_snip(model: nn.Module) -> dict[str, float]:
    return by_gradients(model, lambda weight, grad: (weight * grad).abs())


def naive_fisher(model: nn.Module) -> dict[str, float]:
    return by_gradients(model, lambda _, grad: grad.square())


@torch.no_grad()
def naive_wanda(model: nn.Module) -> dict[str, float]:
    components: dict[str, nn.Linear] = linear_components(model)
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in components}
    handles = [
        module.register_forward_pre_hook(lambda _, args, rows=seen[name]: rows.append(args[0].flatten(0, -2)))
        for name, module in components.items()
    ]
    for example in unpadded():
        model(input_ids=example["input_ids"])
    for handle in handles:
        handle.remove()
    return {
        name: (module.weight.abs() * torch.cat(seen[name]).norm(dim=0)).sum().item()
        for name, module in components.items()
    }


NAIVE = {"snip": naive_snip, "fisher": naive_fisher, "wanda": naive_wanda}


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("score", NAIVE)
@pytest.mark.parametrize("name", [*ARCHITECTURES, *OTHERS])
def test_equals_the_formula_however_examples_are_batched(name: str, score: str, size: int) -> None:
    model = model_of(name)
    expected = NAIVE[score](model)
    found = score_components(model, split(data(), size), score=score)
    assert list(found) == list(expected)
    assert all(abs(found[part] - expected[part]) <= 1e-10 * expected[part] for part in expected)
    assert min(found.values()) > 0


@pytest.mark.parametrize("score", ["snip", "fisher"])
def test_blocks_and_both_ways_to_the_fisher_trace_agree(score: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of two rows; with long examples the gradient is the shorter way, with short ones the inner products."""
    model = tiny_model(dtype=torch.float64)
    ids = torch.randint(5, 384, (2, 60), generator=torch.Generator().manual_seed(0))
    batch = {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)}
    whole = score_components(model, [batch], score=score)
    monkeypatch.setattr(alternatives, "BLOCK_CPU", 64)
    found = score_components(model, [batch], score=score)
    grams = []
    gram = alternatives._gram
    monkeypatch.setattr(alternatives, "_gram", lambda rows: grams.append(rows.shape) or gram(rows))
    short = {key: value[:, :8] for key, value in batch.items()}
    score_components(model, [short], score=score)
    assert all(abs(found[name] - whole[name]) <= 1e-12 * whole[name] for name in whole)
    assert len(grams) == (2 * (7 + 4) if score == "fisher" else 0), "7 gradients and 4 inputs in each of two layers"


@pytest.mark.parametrize("score", NAIVE)
def test_checkpointing_biases_and_16_bits_change_nothing_that_matters(score: str) -> None:
    model = tiny_model(dtype=torch.float64)
    for module in linear_components(model).values():
        module.bias = nn.Parameter(torch.randn(module.out_features, dtype=module.weight.dtype))
    plain = score_components(model, [data()], score=score)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    hooks = [dict(module._forward_hooks) for module in model.modules()]
    again = score_components(model, [data()], score=score)
    assert all(abs(plain[name] - again[name]) <= 1e-10 * plain[name] for name in plain)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert [dict(module._forward_hooks) for module in model.modules()] == hooks
    expected = NAIVE[score](model.eval())
    assert all(abs(plain[name] - expected[name]) <= 1e-10 * expected[name] for name in expected)
    rough = score_components(model.to(torch.bfloat16), [data()], score=score)
    assert all(abs(plain[name] - rough[name]) <= 0.2 * plain[name] for name in plain)


@pytest.mark.parametrize("score", ["eq4", *NAIVE])
def test_parts_of_the_data_add_up(score: str) -> None:
    model = tiny_model(dtype=torch.float64)
    batches = split(data(), 1)
    whole = part_scores(model, batches, score=score)
    parts = part_scores(model, batches[:2], score=score) + part_scores(model, batches[2:], score=score)
    assert parts.trained == whole.trained
    expected = whole.scores()
    assert all(abs(value - expected[name]) <= 1e-10 * expected[name] for name, value in parts.scores().items())


@pytest.mark.parametrize("model_type", NORMED)
def test_no_alternative_vanishes_where_eq_4_does(model_type: str) -> None:
    model = other_model(model_type, torch.float32)
    hidden = {name for name in linear_components(model) if name.rpartition(".")[2] in NORMED[model_type]}
    eq4 = part_scores(model, [data()])
    assert {*eq4.vanishing} == hidden
    noise = max(value for name, value in eq4.scores().items() if name in hidden)
    for score in NAIVE:
        found = part_scores(model, [data()], score=score)
        assert found.vanishing == ()
        least = min(found.scores()[name] for name in hidden) / max(found.scores().values())
        assert least > 10 * noise / max(eq4.scores().values())


def test_a_strict_pass_ends_after_the_first_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    model, taken = other_model("qwen3", torch.float32), []

    def batches():
        for _ in range(20):
            taken.append(1)
            yield data()

    with pytest.raises(VanishingError) as error:
        part_scores(model, batches(), strict=True)
    assert len(taken) == 9, "the one after those that are checked is not computed"
    assert "it is 0 by construction for 4 of 14 components (k_proj, q_proj)" in error.value.message
    assert "citi_importance_score: auto" in error.value.message
    assert not any(module._forward_hooks for module in model.modules())


def test_tokens_that_have_lost_their_example_are_named() -> None:
    class Routed(nn.Module):
        def __init__(self, inner: nn.Linear) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows = x.flatten(0, 1)
            return torch.cat([self.inner(rows[:5]), self.inner(rows[5:])]).view(*x.shape[:2], -1)

    model = tiny_model(dtype=torch.float64)
    expected = NAIVE["fisher"](model)
    mlp = model.model.layers[0].mlp
    mlp.up_proj = Routed(mlp.up_proj)
    with pytest.raises(OptionError, match=r"up_proj.inner sees tokens without their example.*train_batch_size: 1"):
        score_components(model, [data()], score="fisher")
    assert set(score_components(model, [data()])) >= {"model.layers.0.mlp.up_proj.inner"}
    assert expected


@pytest.mark.parametrize("score", ["snip", "wanda"])
def test_scores_that_read_weights_refuse_quantized_ones(score: str) -> None:
    model = tiny_model()
    module = linear_components(model)["model.layers.1.mlp.up_proj"]
    module.weight = nn.Parameter(torch.zeros(768, 1, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(OptionError, match=r"reads the weights, and those of model.layers.1.mlp.up_proj are quantized"):
        score_components(model, [data()], score=score)
