"""The closed form equals autograd, in every scope, over micro-batches, under every kind of checkpointing."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from llamafactory_ext.citi.router_backward import RouterLoss, Totals
from llamafactory_ext.citi.router_loss import SCOPES, router_loss
from llamafactory_ext.molora import MoLoraLinear

pytestmark = pytest.mark.fast

N, D = 3, 6
E = N + 1


class Stack(nn.Module):
    """Two adapted linears in a row, so that a gate also depends on the adapter below."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(
            MoLoraLinear(nn.Linear(D, D), "default", num_experts=N, r=2, alpha=2.0, init_weights=False)
            for _ in range(2)
        ).double()
        for i, layer in enumerate(self.layers):
            layer.layer_name = str(i)
            layer.base_layer.requires_grad_(False)

    def forward(self, x: torch.Tensor, mode: str = "plain") -> torch.Tensor:
        for layer in self.layers:
            if mode == "plain":
                x = layer(x).tanh()
            else:
                x = checkpoint(lambda x, layer=layer: layer(x).tanh(), x, use_reentrant=mode == "reentrant")
        return x

    def gates(self, x: torch.Tensor) -> list[torch.Tensor]:
        found = []
        for layer in self.layers:
            found.append(layer.gates(x).reshape(-1, E))
            x = layer(x).tanh()
        return found

    def gradients(self) -> list[torch.Tensor]:
        return [p.grad for p in self.parameters() if p.requires_grad]


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    sample = torch.tensor([[0, 0, 0, 1, 1, 1, 1, -1], [2, 2, 2, 2, 2, 3, -1, -1]])
    return {
        "x": torch.randn(2, 8, D, dtype=torch.float64, generator=generator),
        "is_tool": (sample == 0) | (sample == 2),
        "mask": sample >= 0,
        "sample": sample,
    }


def reference(model: Stack, batch: dict, scope: str, beta: float = 0.3) -> torch.Tensor:
    flat = {key: batch[key].flatten() for key in ("is_tool", "mask", "sample")}
    losses = [
        router_loss(gates, flat["is_tool"], flat["mask"], 0.95, scope, flat["sample"])
        for gates in model.gates(batch["x"])
    ]
    return model(batch["x"]).square().mean() + beta * torch.stack(losses).sum()


def closed_form(model: Stack, loss: RouterLoss, batch: dict, mode: str = "plain") -> torch.Tensor:
    for layer in model.layers:
        layer.gate_loss = loss
    loss.begin(batch["is_tool"], batch["mask"], batch["sample"])
    lm_loss = model(batch["x"].clone().requires_grad_(mode == "reentrant"), mode).square().mean()
    return loss.attach(lm_loss, loss.totals(), gates=E)


@pytest.mark.parametrize(("scope", "mode"), itertools.product(SCOPES, ["plain", "reentrant", "non-reentrant"]))
def test_value_and_gradients_equal_autograd(scope: str, mode: str, batch: dict) -> None:
    expected_model, model = Stack(), Stack()
    expected = reference(expected_model, batch, scope)
    (expected * 0.7).backward()
    actual = closed_form(model, RouterLoss("01", delta=0.95, beta=0.3, scope=scope), batch, mode)
    (actual * 0.7).backward()  # a loss scale, as gradient accumulation or an fp16 scaler applies
    assert abs(actual.item() - expected.item()) < 1e-12
    for got, want in zip(model.gradients(), expected_model.gradients(), strict=True):
        assert (got - want).abs().max() < 1e-12


@pytest.mark.parametrize("scope", SCOPES)
def test_two_micro_batches_with_the_steps_totals_equal_one_batch(scope: str, batch: dict) -> None:
    whole, halves = Stack(), Stack()
    expected = reference(whole, batch, scope)
    expected.backward()
    loss = RouterLoss("01", delta=0.95, beta=0.3, scope=scope)
    parts = [{key: value[i : i + 1] for key, value in batch.items()} for i in range(2)]
    for layer in halves.layers:
        layer.gate_loss = loss
    totals: list[Totals] = []
    with torch.no_grad():
        for part in parts:
            loss.begin(part["is_tool"], part["mask"], part["sample"])
            halves(part["x"])
            totals.append(loss.totals())
    step = totals[0] + totals[1]
    value = 0.0
    for part in parts:
        loss.begin(part["is_tool"], part["mask"], part["sample"])
        attached = loss.attach(halves(part["x"]).square().mean() / 2, step, gates=E, share=0.5)
        attached.backward()
        value += attached.item()
    assert abs(value - expected.item()) < 1e-12
    for got, want in zip(halves.gradients(), whole.gradients(), strict=True):
        assert (got - want).abs().max() < 1e-12


@pytest.mark.parametrize("scope", SCOPES)
def test_padding_never_enters(scope: str, batch: dict) -> None:
    gates = torch.rand(16, E, dtype=torch.float64).softmax(-1)
    flat = {key: batch[key].flatten() for key in ("is_tool", "mask", "sample")}
    noisy = torch.where(flat["mask"][:, None], gates, torch.rand_like(gates))
    arguments = (flat["is_tool"], flat["mask"], 0.95, scope, flat["sample"])
    assert router_loss(gates, *arguments) == router_loss(noisy, *arguments)


@pytest.mark.parametrize("scope", SCOPES)
def test_descent_opens_gate_0_for_general_and_closes_it_for_tool_data(scope: str) -> None:
    is_tool = torch.arange(8) < 4
    logits = torch.zeros(8, E, requires_grad=True)
    for _ in range(300):
        loss = router_loss(logits.softmax(-1), is_tool, torch.ones(8, dtype=torch.bool), 0.95, scope, torch.arange(8))
        (gradient,) = torch.autograd.grad(loss, logits)
        logits.data -= gradient
    gate_0 = logits.softmax(-1)[:, 0]
    assert gate_0[is_tool].max() < 0.1
    assert gate_0[~is_tool].min() > 0.8


def test_delta_0_and_uniform_gates_cost_nothing() -> None:
    gates = torch.full((5, E), 1 / E)
    every = torch.ones(5, dtype=torch.bool)
    assert all(router_loss(gates, every, every, 0.0, scope, torch.arange(5)) == 0 for scope in SCOPES)


def test_passes_outside_begin_and_end_are_not_seen(batch: dict) -> None:
    model, loss = Stack(), RouterLoss("01", delta=0.95, beta=0.3, scope="batch")
    closed_form(model, loss, batch)
    loss.end()
    model(batch["x"]).square().mean().backward()
    expected = Stack()
    expected(batch["x"]).square().mean().backward()
    assert all(torch.equal(a, b) for a, b in zip(model.gradients(), expected.gradients(), strict=True))


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("scope", SCOPES)
def test_routers_alone_learn_from_forward_what_autograd_says(scope: str, parts: int, batch: dict) -> None:
    """Router Pre-training: with B = 0, forward passes of all micro-batches give the gradient of the whole step."""
    model = Stack()
    for layer in model.layers:
        nn.init.zeros_(layer.molora_B["default"].weight)
    reference(model, batch, scope).backward()
    routers = [layer.molora_router["default"].weight for layer in model.layers]
    expected = torch.cat([router.grad.flatten() for router in routers])
    loss = RouterLoss(["0", "1"], delta=0.95, beta=0.3, scope=scope)
    totals = None
    for layer in model.layers:
        layer.gate_loss = loss
    for rows in torch.arange(2).chunk(parts):
        loss.begin(batch["is_tool"][rows], batch["mask"][rows], batch["sample"][rows])
        with loss.forward_only(learn=True):
            model(batch["x"][rows])
        totals = loss.totals() if totals is None else totals + loss.totals()
    assert torch.allclose(loss.own_gradients(totals, gates=E), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("stop", [True, False])
@pytest.mark.parametrize("learn", [True, False])
@pytest.mark.parametrize("mode", ["plain", "reentrant", "non-reentrant"])
def test_a_pass_for_the_routers_alone_ends_with_the_last_of_them(
    learn: bool, stop: bool, mode: str, batch: dict
) -> None:
    model, loss, reached = Stack(), RouterLoss(["0", "1"], delta=0.95, beta=0.3, scope="batch"), []
    for layer in model.layers:
        layer.gate_loss = loss
        nn.init.zeros_(layer.molora_B["default"].weight)

    def forward() -> None:
        loss.begin(batch["is_tool"], batch["mask"], batch["sample"])
        model(batch["x"], mode)
        reached.append("end")

    with torch.no_grad():
        forward()
    expected = loss.totals()
    reached.clear()
    with loss.forward_only(learn=learn, stop=stop):
        forward()
    assert reached == ([] if stop else ["end"])
    assert torch.equal(loss.totals().sums_L2, expected.sums_L2)
    assert torch.is_grad_enabled()
    forward()
    assert reached[-1] == "end", "other passes are whole"


def test_a_fault_within_a_pass_for_the_routers_alone_is_not_swallowed(batch: dict) -> None:
    loss = RouterLoss(["0", "1"], delta=0.95, beta=0.3, scope="batch")
    with pytest.raises(RuntimeError, match="shapes"), loss.forward_only(learn=True):
        Stack()(batch["x"][..., :2])
    assert not loss.alone
