"""The gate's formula, its rows, the loss that keeps them apart, growth, and restoration."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from duo.adapted import IDS, adapted, logits
from llamafactory_ext.duo.gate import GateRows
from llamafactory_ext.duo.gating import fresh_rows, gate_logits, orthogonality, row_scalars
from llamafactory_ext.duo.restoration import is_due, restore
from llamafactory_ext.errors import OptionError

pytestmark = pytest.mark.fast

D, M = 12, 3


def rows(count: int, seed: int = 0) -> Tensor:
    return torch.randn(2, count, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_the_text(h: Tensor, K: Tensor, A: Tensor, W: Tensor) -> Tensor:
    """The published form, K and W as they are: (2, B, L)."""
    found = []
    for gate in (0, 1):
        a = h @ A[gate].t()
        a = a / a.norm(dim=-1, keepdim=True)
        K_unit = K[gate] / K[gate].norm(dim=-1, keepdim=True)
        strength = torch.einsum("blk,kd->blk", a, K_unit) / D**0.5
        found.append(torch.einsum("blk,kd->bl", strength, W[gate]))
    return torch.stack(found)


@pytest.mark.parametrize("earlier", [0, 4])
def test_one_scalar_per_row_equals_two_matrices(earlier: int) -> None:
    K, A, W = (rows(earlier + M, seed) for seed in (1, 2, 3))
    h = torch.randn(2, 5, D, dtype=torch.float64)
    found = gate_logits(h, A[:, :earlier], A[:, earlier:], row_scalars(K, W))
    assert torch.allclose(found, by_the_text(h, K, A, W), rtol=0, atol=1e-12)


@pytest.mark.parametrize("earlier", [0, 4])
def test_gradients_are_those_of_autograd(earlier: int) -> None:
    old, new = rows(earlier), rows(M, 1).requires_grad_()
    c = torch.randn(2, earlier + M, dtype=torch.float64, requires_grad=True)
    h = torch.randn(2, 5, D, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda h, new, c: gate_logits(h, old, new, c), (h, new, c))


def test_little_is_kept_per_token() -> None:
    """8 k bytes of activations and 16 of lengths and gates in float32, beside the hidden states."""
    gate = GateRows("token", D, M, 1, 0)
    h = torch.randn(1, 50, D, requires_grad=True)
    known = {h.data_ptr(), *(parameter.data_ptr() for parameter in gate.parameters())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in known and 50 in tensor.shape:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.itemsize
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        opened, _ = gate.eval()(h, {}, ("default", 0))
    assert sum(kept.values()) == (8 * M + 16) * 50
    opened.sum().backward()


def test_zeros_have_a_logit_of_zero_and_finite_gradients() -> None:
    h = torch.zeros(1, 2, D, dtype=torch.float64, requires_grad=True)
    found = gate_logits(h, rows(0), rows(M), torch.ones(2, M, dtype=torch.float64))
    found.sum().backward()
    assert not found.any()
    assert torch.isfinite(h.grad).all()


def test_orthonormal_rows_cost_nothing_and_others_do() -> None:
    unit = torch.linalg.qr(rows(M).transpose(1, 2)).Q.transpose(1, 2)
    assert orthogonality(unit, unit, unit).item() == pytest.approx(0, abs=1e-20)
    assert orthogonality(5 * unit, unit, unit).item() == pytest.approx(0, abs=1e-20)  # K counts at unit length
    doubled = orthogonality(unit, 2 * unit, unit).item()
    assert doubled == pytest.approx(9 * M / (M * M) / 3)  # (4 - 1)^2 on the diagonal, one matrix of three


@pytest.mark.parametrize("earlier", ["none", "trained", "dependent"])
def test_new_rows_are_orthonormal_to_all_earlier_ones(earlier: str) -> None:
    old = torch.randn(6, 16, generator=torch.Generator().manual_seed(0))
    if earlier == "none":
        old = old[:0]
    if earlier == "dependent":
        old[3:] = old[:3] * 2
    new = fresh_rows(old, 5, 7)
    assert torch.allclose(new @ new.t(), torch.eye(5), atol=1e-6)
    assert new.shape == (5, 16)
    if len(old):
        assert (new @ old.t()).abs().max() < 1e-5
    assert torch.equal(new, fresh_rows(old, 5, 7))
    assert not torch.equal(new, fresh_rows(old, 5, 8))


def test_rows_run_out_with_the_width() -> None:
    with pytest.raises(OptionError, match="12 rows already and shall get 5 more, but the model is 16 wide"):
        fresh_rows(torch.eye(12, 16), 5, 0)
    with pytest.raises(OptionError, match="9 tasks with 4 components need 36 rows per gate, but the model is 32 wide"):
        adapted(tasks=[str(task) for task in range(9)])
    model = adapted(components=12)
    model.base_model.add_task("second")
    with pytest.raises(OptionError, match="Task 'third' needs 36 rows per gate"):
        model.base_model.add_task("third")
    assert model.peft_config["default"].tasks == ["task", "second"]


def test_a_new_task_keeps_earlier_rows_and_their_answers() -> None:
    model = adapted()
    before, old = logits(model), {i: gate.rows("A").clone() for i, gate in model.base_model.gates().items()}
    model.base_model.add_task("second")
    for number, gate in model.base_model.gates().items():
        assert torch.equal(gate.old_A, old[number])
        assert (gate.new_A @ gate.old_A.transpose(1, 2)).abs().max() < 1e-5
        assert gate.new_A.requires_grad
        assert not gate.old_A.requires_grad
    assert not torch.equal(logits(model), before)
    model.base_model.use_rows("task")
    assert torch.equal(logits(model), before)
    model.base_model.use_rows(None)
    assert not torch.equal(logits(model), before)
    with pytest.raises(OptionError, match="knows no task 'third', only task, second"):
        model.base_model.use_rows("third")
    with pytest.raises(OptionError, match="has a task 'second' already"):
        model.base_model.add_task("second")


def test_training_moves_new_rows_and_never_earlier_ones() -> None:
    model = adapted()
    model.base_model.add_task("second")
    gates = model.base_model.gates()
    old = {i: [gate.old_K.clone(), gate.old_A.clone(), gate.old_W.clone()] for i, gate in gates.items()}
    new = {i: gate.new_A.detach().clone() for i, gate in gates.items()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1, weight_decay=0.5)
    model.train()
    for _ in range(2):
        loss = model(input_ids=IDS, labels=IDS).loss + model.base_model.ortho_loss()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    for i, gate in gates.items():
        assert all(torch.equal(*pair) for pair in zip(old[i], [gate.old_K, gate.old_A, gate.old_W], strict=True))
        assert not torch.allclose(gate.new_A, new[i], atol=1e-3)


def test_the_ortho_loss_is_that_of_the_rows_and_is_learnt() -> None:
    model = adapted().train()
    gates = model.base_model.gates().values()
    wanted = torch.stack([orthogonality(*(gate.rows(name) for name in "KAW")) for gate in gates]).mean()
    assert wanted > 0.01  # `adapted` pushed the rows off
    model(input_ids=IDS)
    loss = model.base_model.ortho_loss()
    assert loss.item() == pytest.approx(wanted.item())
    loss.backward()
    assert all(parameter.grad.abs().sum() > 0 for gate in gates for parameter in (gate.new_K, gate.new_W))


@pytest.mark.parametrize(
    ("ratio", "steps", "due"),
    [(0.0, 10, []), (0.05, 10, []), (0.2, 10, [2, 4, 6, 8]), (0.3, 10, [3, 6]), (0.5, 10, [5]), (1.0, 4, [4])],
)
def test_restoration_ends_each_window_but_the_last(ratio: float, steps: int, due: list[int]) -> None:
    """Also those that the last window's length leaves room for, as the released code counts."""
    found = [step for step in range(1, steps + 1) if is_due(step, steps, ratio)]
    window = int(ratio * steps)
    assert found == [s for s in range(1, steps + 1) if window and s % window == 0 and steps - (s - 1) >= window]
    assert set(found) <= {*due, steps}


def test_restoration_takes_the_start_values_at_the_wanted_rate() -> None:
    start = {name: torch.zeros(300, 400) for name in ("A", "B")}
    weights = {name: torch.ones(300, 400) for name in ("A", "B")}
    again = {name: torch.ones(300, 400) for name in ("A", "B")}
    count, p, n = restore(weights, start, 0.01, (1, 2, 3)), 0.01, 240_000
    assert abs(count - p * n) < 5 * (n * p * (1 - p)) ** 0.5
    assert sum(int((weight == 0).sum()) for weight in weights.values()) == count
    restore(again, start, 0.01, (1, 2, 3))
    assert all(torch.equal(again[name], weights[name]) for name in weights)
    other = {name: torch.ones(300, 400) for name in ("A", "B")}
    restore(other, start, 0.01, (1, 2, 4))
    assert not torch.equal(other["A"], weights["A"])
