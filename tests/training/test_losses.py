"""The chunked loss equals cross entropy and its gradients, whatever the chunk, weights and number type."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, Gemma2Config, set_seed

from llamafactory_ext.training.losses import head_deferred, linear_nll, plain_head, summed_nll
from tiny import ARCHITECTURES, tiny_model

pytestmark = pytest.mark.fast

K, D, V = 13, 6, 29


@pytest.fixture
def case() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    draw = {"generator": generator, "dtype": torch.float64}
    return {
        "hidden": torch.randn(K, D, **draw).requires_grad_(),
        "head": torch.randn(V, D, **draw).requires_grad_(),
        "bias": torch.randn(V, **draw).requires_grad_(),
        "labels": torch.randint(V, (K,), generator=generator),
        "weights": torch.rand(K, **draw),
    }


def reference(case: dict[str, torch.Tensor], weighted: bool) -> torch.Tensor:
    logits = nn.functional.linear(case["hidden"], case["head"], case["bias"])
    nll = nn.functional.cross_entropy(logits, case["labels"], reduction="none")
    return (nll * case["weights"] if weighted else nll).sum()


def chunked(case: dict[str, torch.Tensor], weighted: bool, chunk: int | None) -> torch.Tensor:
    weights = case["weights"] if weighted else None
    return linear_nll(
        case["hidden"], case["head"], case["labels"], bias_V=case["bias"], weights_K=weights, chunk=chunk
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("chunk", [1, 5, 13, 64, None])
def test_value_and_gradients_equal_cross_entropy(case: dict, weighted: bool, chunk: int | None) -> None:
    leaves = [case["hidden"], case["head"], case["bias"]]
    expected = torch.autograd.grad(3 * reference(case, weighted), leaves)
    loss = 3 * chunked(case, weighted, chunk)
    assert torch.allclose(loss, 3 * reference(case, weighted), rtol=0, atol=1e-12)
    for found, wanted in zip(torch.autograd.grad(loss, leaves), expected, strict=True):
        assert torch.allclose(found, wanted, rtol=0, atol=1e-12)


def test_unit_weights_change_nothing_and_zero_weights_silence(case: dict) -> None:
    assert chunked(case | {"weights": torch.ones(K).double()}, True, 4) == chunked(case, False, 4)
    silent = chunked(case | {"weights": torch.zeros(K).double()}, True, 4)
    silent.backward()
    assert silent == 0
    assert not case["hidden"].grad.any()


def test_a_frozen_head_gets_no_gradient_and_evaluation_forms_none(case: dict) -> None:
    frozen = case | {"head": case["head"].detach(), "bias": case["bias"].detach()}
    chunked(frozen, True, 4).backward()
    assert case["hidden"].grad is not None
    with torch.no_grad():
        assert not chunked(case, True, 4).requires_grad


def test_nothing_to_train_is_a_loss_of_zero_that_can_go_backward(case: dict) -> None:
    empty = {name: case[name][:0] for name in ("hidden", "labels", "weights")}
    loss = chunked(case | empty, True, None)
    loss.backward()
    assert loss == 0
    assert not case["head"].grad.any()


def test_probabilities_too_small_for_float32_keep_their_loss() -> None:
    hidden, head = torch.tensor([[1.0]]), torch.tensor([[300.0], [-300.0]])
    assert linear_nll(hidden, head, torch.tensor([1])).item() == pytest.approx(600)


def test_half_precision_products_keep_a_float32_softmax(case: dict) -> None:
    low = {name: case[name].detach().to(torch.bfloat16) for name in ("hidden", "head")}
    low["hidden"].requires_grad_()
    loss = linear_nll(low["hidden"], low["head"], case["labels"], chunk=4)
    logits = (low["hidden"] @ low["head"].t()).float()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(nn.functional.cross_entropy(logits, case["labels"], reduction="sum").item())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear_nll(case["hidden"], case["head"], case["labels"]).dtype == torch.float64, "as asked, no autocast"


@pytest.mark.parametrize("block", [1, 7 * V, 3 * V + 2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("chunk", [3, 5, None])
def test_blocks_of_the_vocabulary_change_nothing(
    case: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch, block: int, weighted: bool, chunk: int | None
) -> None:
    monkeypatch.setattr("llamafactory_ext.training.losses.BLOCK_CPU", block)
    monkeypatch.setattr("llamafactory_ext.training.losses.STORE_CPU", 4 * V)
    monkeypatch.setattr("llamafactory_ext.training.losses.COLUMNS_CPU", 2)
    test_value_and_gradients_equal_cross_entropy(case, weighted, chunk)
    for frozen in (("head",), ("bias",), ("head", "bias"), ("hidden",)):
        some = case | {name: case[name].detach() for name in frozen}
        leaves = [leaf for leaf in (some["hidden"], some["head"], some["bias"]) if leaf.requires_grad]
        expected = torch.autograd.grad(reference(some, weighted), leaves)
        for found, wanted in zip(torch.autograd.grad(chunked(some, weighted, chunk), leaves), expected, strict=True):
            assert torch.allclose(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("block", [2 * V, 1 << 19])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gradients_are_those_of_its_own_logits(
    case: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch, block: int, dtype: torch.dtype
) -> None:
    monkeypatch.setattr("llamafactory_ext.training.losses.BLOCK_CPU", block)
    low = {name: case[name].detach().to(dtype).requires_grad_() for name in ("hidden", "head")}
    linear_nll(low["hidden"], low["head"], case["labels"], weights_K=case["weights"], chunk=5).backward()
    exact = {name: low[name].detach().double().requires_grad_() for name in low} | {
        "bias": torch.zeros(V).double(),
        "labels": case["labels"],
        "weights": case["weights"],
    }
    reference(exact, True).backward()
    for name in ("hidden", "head"):
        assert (low[name].grad - exact[name].grad).abs().max() < 0.02 * exact[name].grad.abs().max()


def test_a_token_known_well_has_an_exact_gradient_in_half_precision() -> None:
    """1 - p, about 1e-3 here, is less than what rounding p to bfloat16 may cost."""
    low = {"hidden": torch.tensor([[7.0]]).bfloat16(), "head": torch.tensor([[1.0], [0.0]]).bfloat16()}
    low = {name: value.requires_grad_() for name, value in low.items()}
    linear_nll(low["hidden"], low["head"], torch.tensor([0])).backward()
    rest = torch.tensor(-7.0).sigmoid().item()
    assert low["hidden"].grad.item() == pytest.approx(-rest, rel=0.01)
    assert low["head"].grad.flatten().tolist() == pytest.approx([-7 * rest, 7 * rest], rel=0.01)


def test_tokens_of_weight_zero_never_reach_the_head(case: dict[str, torch.Tensor]) -> None:
    hidden = case["hidden"].detach().clone()
    hidden[3] = float("nan")  # would show in the loss
    weights = case["weights"].clone()
    weights[4] = 0
    head = nn.Linear(D, V, dtype=torch.float64)
    loss = summed_nll(hidden[None], case["labels"][None], head, weights_BT=weights[None])
    kept = [place for place in range(1, K) if place != 4]
    nll = nn.functional.cross_entropy(
        head(hidden[[place - 1 for place in kept]]), case["labels"][kept], reduction="none"
    )
    assert loss.item() == pytest.approx((nll * weights[kept]).sum().item(), rel=1e-12)


# The head of a model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_deferred_head_gives_the_models_own_loss(architecture: str) -> None:
    model = tiny_model(architecture, dtype=torch.float64)
    ids = torch.arange(24).reshape(2, 12) + 5
    labels = ids.clone()
    labels[:, :4] = -100
    head = plain_head(model)
    assert head is model.get_output_embeddings()
    with head_deferred(head):
        hidden = model(input_ids=ids).logits
    logits = model(input_ids=ids).logits
    assert hidden.shape[-1] != logits.shape[-1] == model.config.vocab_size
    loss = summed_nll(hidden, labels, head)
    assert loss.item() == pytest.approx(model(input_ids=ids, labels=labels).loss.item() * 16, rel=1e-6)
    assert summed_nll(logits, labels).item() == pytest.approx(loss.item(), rel=1e-12)


def test_capped_logits_are_noticed() -> None:
    set_seed(0)
    config = Gemma2Config(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        pad_token_id=0,
        initializer_range=1.0,
    )
    model = AutoModelForCausalLM.from_config(config)
    assert plain_head(model) is None
    assert "forward" not in vars(model.get_output_embeddings()), "the head is as before"


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("deferred", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_smoothed_labels_are_pytorchs(weighted: bool, deferred: bool, bias: bool) -> None:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(2, 7, D, generator=generator, dtype=torch.float64).requires_grad_()
    head = nn.Linear(D, V, bias=bias, dtype=torch.float64)
    labels = torch.randint(V, (2, 7), generator=generator)
    labels[0, :3] = labels[1, 5] = -100
    weights = torch.rand(2, 7, generator=generator, dtype=torch.float64) if weighted else None
    flat = {"label_smoothing": 0.3, "reduction": "none"}
    nll = nn.functional.cross_entropy(head(hidden[:, :-1]).flatten(0, 1), labels[:, 1:].flatten(), **flat)
    expected = (nll if weights is None else nll * weights[:, 1:].flatten()).sum()
    states = hidden if deferred else head(hidden)
    loss = summed_nll(states, labels, head if deferred else None, weights_BT=weights, smoothing=0.3)
    assert torch.allclose(loss, expected, rtol=0, atol=1e-12)
    leaves = [hidden, *head.parameters()]
    for found, wanted in zip(torch.autograd.grad(loss, leaves), torch.autograd.grad(expected, leaves), strict=True):
        assert torch.allclose(found, wanted, rtol=0, atol=1e-12)
