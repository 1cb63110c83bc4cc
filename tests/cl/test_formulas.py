"""Identities of what the rivals compute, in float64."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft.tuners.osf.utils import project_gradient_to_orthogonal_space
from torch import Tensor, nn

from llamafactory_ext.cl.rivals.formulas import (
    distillation,
    merged,
    norms,
    orthogonality,
    orthonormal_rows,
    quadratic,
    split,
    without_columns,
    without_rows,
)
from llamafactory_ext.cl.rivals.lora_files import added, whole_rank
from llamafactory_ext.cl.rivals.terms import AddedTerm, fisher, lwf_term, share_of_step

pytestmark = pytest.mark.fast


@pytest.fixture(autouse=True)
def in_float64() -> Any:
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def test_orthogonality_is_the_sum_of_all_overlaps() -> None:
    tasks = [torch.randn(3, 8) for _ in range(2)]
    new = torch.randn(4, 8, requires_grad=True)
    by_hand = torch.stack([abs(row @ other) for task in tasks for row in task for other in new]).sum()
    found = orthogonality(torch.cat(tasks), new)
    assert torch.allclose(found, by_hand, rtol=1e-14)
    assert torch.allclose(*(torch.autograd.grad(value, new)[0] for value in (found, by_hand)), rtol=1e-14)
    basis = torch.linalg.qr(torch.randn(8, 8)).Q
    assert float(orthogonality(basis[:3], basis[3:])) < 1e-14


def test_norms_have_no_gradient_at_zero() -> None:
    a, b = torch.randn(2, 3, requires_grad=True), torch.zeros(3, 2, requires_grad=True)
    norms([a, b]).backward()
    assert torch.allclose(a.grad, a / a.norm())
    assert torch.equal(b.grad, torch.zeros_like(b))


def test_one_penalty_is_that_of_all_earlier_tasks() -> None:
    w = torch.randn(5, requires_grad=True)
    importances, optima = [torch.rand(5) for _ in range(3)], [torch.randn(5) for _ in range(3)]
    apart = sum((0.5 * f * (w - at).square()).sum() for f, at in zip(importances, optima, strict=True))
    total = torch.stack(importances).sum(0)
    drawn = torch.stack([f * at for f, at in zip(importances, optima, strict=True)]).sum(0)
    found = quadratic({"w": w}, {"w": total}, {"w": drawn})
    constant = sum(float((0.5 * f * at.square()).sum()) for f, at in zip(importances, optima, strict=True))
    assert float(found) == pytest.approx(float(apart) - constant, rel=1e-12)
    (gradient,) = torch.autograd.grad(found, w)
    assert torch.allclose(gradient, torch.autograd.grad(apart, w)[0], rtol=1e-12)


class Small(nn.Module):
    """A model of two weights, one frozen, that answers as transformers' do."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Embedding(7, 4).requires_grad_(False)
        self.head = nn.Linear(4, 7)

    def forward(self, input_ids: Tensor, labels: Tensor | None = None, num_items_in_batch: Any = None) -> Any:
        logits = self.head(self.rows(input_ids))
        loss = None
        if labels is not None:
            kept = "mean" if num_items_in_batch is None else "sum"
            loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction=kept)
            loss = loss if num_items_in_batch is None else loss / num_items_in_batch
        return SimpleNamespace(loss=loss, logits=logits)


def batch(rows: int, learnt: int) -> dict[str, Tensor]:
    ids = torch.randint(0, 7, (rows, 6))
    labels = ids.clone()
    labels[:, : 6 - learnt] = -100
    return {"input_ids": ids, "labels": labels}


def test_fisher_is_the_mean_square_of_each_items_score() -> None:
    model, items = Small(), [batch(1, learnt) for learnt in (1, 3, 5)]
    wanted = torch.zeros(7, 4)
    for item in items:
        log_p = torch.log_softmax(model(item["input_ids"]).logits[0, :-1], -1)
        targets = item["labels"][0, 1:]
        total = sum(log_p[t, target] for t, target in enumerate(targets) if target != -100)
        wanted += torch.autograd.grad(total, model.head.weight)[0].square() / len(items)
    found = fisher(model, items)
    assert set(found) == {"head.weight", "head.bias"}
    assert torch.allclose(found["head.weight"], wanted, rtol=1e-12)
    assert model.training


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_distillation_is_kl_over_what_is_learnt(temperature: float) -> None:
    student, teacher = torch.randn(2, 6, 7, requires_grad=True), torch.randn(2, 6, 7)
    labels = batch(2, 3)["labels"]
    p, q = ((logits / temperature).softmax(-1) for logits in (teacher, student))
    by_hand = sum(
        (p[b, t] * (p[b, t] / q[b, t]).log()).sum() for b in range(2) for t in range(5) if labels[b, t + 1] != -100
    )
    found = distillation(student, teacher, labels, temperature)
    assert torch.allclose(found, temperature**2 * by_hand / int((labels[:, 1:] != -100).sum()), rtol=1e-12)
    same = distillation(student, student.detach(), labels, temperature)
    assert abs(float(same)) < 1e-14
    assert float(torch.autograd.grad(same, student)[0].abs().max()) < 1e-15


def test_shares_of_a_step_add_up_and_accumulation_changes_no_gradient() -> None:
    whole = batch(4, 5)
    whole["labels"][0, :4] = -100  # an item with fewer tokens
    items = (whole["labels"] != -100).sum()
    parts = [{name: tensor[rows] for name, tensor in whole.items()} for rows in (slice(0, 1), slice(1, 4))]
    assert float(sum(share_of_step({**part, "num_items_in_batch": items}) for part in parts)) == pytest.approx(1.0)
    assert share_of_step(whole) == 1.0
    model = Small().train()
    term = AddedTerm(lambda model, inputs, outputs: model.head.weight.square().sum())
    term.on_train_begin(None, None, None, model=model)
    gradients = []
    for batches in ([whole], parts):
        model.zero_grad()
        for part in batches:
            model(**part, num_items_in_batch=items).loss.backward()
        gradients.append(model.head.weight.grad.clone())
    assert torch.allclose(*gradients, rtol=1e-12)
    with_term = model(**whole, num_items_in_batch=items).loss
    assert float(with_term - model.eval()(**whole, num_items_in_batch=items).loss) == pytest.approx(
        float(model.head.weight.square().sum())
    )
    term.on_train_end(None, None, None)
    assert torch.equal(model.train()(**whole).loss, model.eval()(**whole).loss)


def test_the_teacher_is_the_model_with_earlier_weights() -> None:
    model, inputs = Small().train(), batch(2, 3)
    earlier = {name: torch.randn_like(weight) for name, weight in model.head.named_parameters(prefix="head")}
    other = Small()
    other.load_state_dict({**model.state_dict(), **earlier})
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    outputs = model(**inputs)
    found = lwf_term(earlier, strength=3.0, temperature=2.0)(model, inputs, outputs)
    wanted = 3 * distillation(outputs.logits.float(), other(inputs["input_ids"]).logits.float(), inputs["labels"], 2.0)
    assert torch.allclose(found, wanted)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def test_added_adapters_are_the_sum_of_each() -> None:
    adapters = [{"q": (torch.randn(r, 6), torch.randn(5, r))} for r in (2, 3)]
    adapters[1]["k"] = (torch.randn(1, 6), torch.randn(4, 1))
    a, b = added(adapters)["q"]
    wanted = sum(pairs["q"][1] @ pairs["q"][0] for pairs in adapters)
    assert a.shape == (5, 6)
    assert torch.allclose(b @ a, wanted)
    assert torch.equal(added(adapters)["k"][1], adapters[1]["k"][1])


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (5, 5)])
def test_a_change_of_a_weight_is_a_pair_bit_for_bit(shape: tuple[int, int]) -> None:
    delta = torch.randn(shape)
    a, b = whole_rank(delta)
    assert a.shape[0] == min(shape)
    assert torch.equal(b @ a, delta)


def test_slao_starts_orthonormal_in_the_same_span_and_merges_by_the_root() -> None:
    a = torch.randn(3, 8)
    q = orthonormal_rows(a)
    assert torch.allclose(q @ q.T, torch.eye(3), atol=1e-14)
    assert torch.allclose(a @ q.T @ q, a)
    assert bool((torch.linalg.cholesky(a @ a.T).diagonal() > 0).all())
    assert torch.allclose(torch.linalg.cholesky(a @ a.T), a @ q.T)  # R^T has a positive diagonal, so it is unique
    assert torch.allclose(orthonormal_rows(q), q)
    before, tuned = torch.randn(5, 3), torch.randn(5, 3)
    assert torch.allclose(merged(before, tuned, 1), tuned)
    assert torch.allclose(merged(before, tuned, 4), (before + tuned) / 2)


@pytest.mark.parametrize("shape", [(6, 8), (8, 6)])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
def test_osf_splits_a_weight_and_leaves_its_large_directions(shape: tuple[int, int], kept: float) -> None:
    weight = torch.randn(shape)
    u, v, b, a = split(weight, kept)
    assert u.shape[1] == int(kept * 6)
    high = u @ torch.diag(torch.linalg.svdvals(weight)[: u.shape[1]]) @ v
    assert torch.allclose(high + b @ a, weight)
    da, db = torch.randn_like(a), torch.randn_like(b)
    a_then, b_then = a - without_rows(da, v), b - without_columns(db, u)
    after = high + b_then @ a_then
    assert torch.allclose(u.T @ after @ v.T, u.T @ weight @ v.T)  # whatever is learnt
    assert torch.allclose(u.T @ after, u.T @ weight)
    assert torch.allclose(after @ v.T, weight @ v.T)


def test_osf_projects_as_peft_does() -> None:
    weight = torch.randn(6, 8)
    u, v, b, a = split(weight, 0.5)
    parts = {"U_high": u, "V_high": v, "U_low": nn.Parameter(b.clone()), "V_low": nn.Parameter(a.clone())}
    parts["S_low"] = nn.Parameter(torch.ones(3))
    for part in ("U_low", "V_low"):
        parts[part].grad = torch.randn_like(parts[part])
    mine = without_columns(parts["U_low"].grad, u), without_rows(parts["V_low"].grad, v)
    project_gradient_to_orthogonal_space(parts)
    assert torch.allclose(parts["U_low"].grad, mine[0], atol=1e-14)
    assert torch.allclose(parts["V_low"].grad, mine[1], atol=1e-14)
