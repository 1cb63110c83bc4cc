"""The fused function: exact gradients, little kept, and aside when somebody counts on calls."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from llamafactory_ext.duo.gate import Opened
from llamafactory_ext.duo.kernel import Pair, apply_pair
from llamafactory_ext.duo.layer import DataAdapterLinear

pytestmark = pytest.mark.fast

D, O, T, LOW, HIGH = 24, 40, 50, 4, 16  # noqa: E741


def layer(bias: bool = True, dtype: torch.dtype = torch.float64, gated: bool = True) -> DataAdapterLinear:
    torch.manual_seed(0)
    found = DataAdapterLinear(nn.Linear(D, O, bias=bias, dtype=dtype).requires_grad_(False), Opened())
    found.update_layer("default", low_rank=LOW, high_rank=HIGH, init="kaiming", gated=gated, init_weights=False)
    return found.to(dtype)


def gates(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(2, 1, T, generator=torch.Generator().manual_seed(1), dtype=dtype)


def result_and_gradients(found: DataAdapterLinear, x: Tensor, gate: Tensor) -> list[Tensor]:
    x, gate = x.clone().requires_grad_(), gate.clone().requires_grad_()
    found.zero_grad()
    found.opened.gates["default"] = gate
    y = found(x)
    y.float().sin().sum().backward()
    return [y.detach(), x.grad, gate.grad, *(p.grad for p in found.parameters() if p.requires_grad)]


@pytest.mark.parametrize("bias", [False, True])
def test_it_equals_the_formula_and_autograd(bias: bool) -> None:
    torch.manual_seed(2)
    A, B = torch.randn(5, 6).double().requires_grad_(), torch.randn(4, 5).double().requires_grad_()
    gate = torch.rand(2, 6).double().requires_grad_()
    base, x = nn.Linear(6, 4, bias=bias).double().requires_grad_(False), torch.randn(2, 3, 6).double().requires_grad_()

    def fused(x: Tensor, A: Tensor, B: Tensor, gate: Tensor) -> Tensor:
        return apply_pair(base, x, Pair(A, B, gate, 2))

    low, high = gate.view(2, 2, 3, 1)
    wanted = base(x) + low * (x @ A[:2].t() @ B[:, :2].t()) + high * (x @ A[2:].t() @ B[:, 2:].t())
    assert torch.allclose(fused(x, A, B, gate), wanted, rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(fused, (x, A, B, gate))
    assert torch.autograd.gradcheck(lambda x, A, B: apply_pair(base, x, Pair(A, B, None, 2)), (x, A, B))


@pytest.mark.parametrize("hooked", ["base", "A", "B"])
def test_hooks_see_their_linear_called_and_change_no_number(hooked: str) -> None:
    x, seen = torch.randn(1, T, D, dtype=torch.float64), []
    wanted = result_and_gradients(layer(), x, gates())
    found = layer()
    part = found.base_layer if hooked == "base" else getattr(found, f"data_adapter_{hooked}")["default"]
    part.register_forward_hook(lambda module, args, output: seen.append(output))
    for one, other in zip(result_and_gradients(found, x, gates()), wanted, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)
    assert len(seen) == 1
    if hooked == "base":
        assert torch.allclose(seen[0], nn.functional.linear(x, found.base_layer.weight, found.base_layer.bias))


def test_under_autocast_products_are_in_its_type_and_gradients_in_the_parameters() -> None:
    found, x = layer(dtype=torch.float32), torch.randn(1, T, D)
    full = result_and_gradients(found, x, gates(torch.float32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = result_and_gradients(found, x, gates(torch.float32))
    assert [tensor.dtype for tensor in half] == [torch.bfloat16, *[torch.float32] * 4]
    assert all(torch.allclose(one.float(), other, atol=0.1, rtol=0.1) for one, other in zip(half, full, strict=True))


@pytest.mark.parametrize("frozen", ["A", "B", "gate"])
def test_a_frozen_part_gets_no_gradient_and_changes_no_other(frozen: str) -> None:
    found, x = layer(), torch.randn(1, T, D, dtype=torch.float64)
    wanted = dict(zip(("y", "x", "gate", "A", "B"), result_and_gradients(found, x, gates()), strict=True))
    gate, x = gates().requires_grad_(frozen != "gate"), x.requires_grad_()
    found.zero_grad()
    if frozen != "gate":
        getattr(found, f"data_adapter_{frozen}").requires_grad_(False)
    found.opened.gates["default"] = gate
    found(x).float().sin().sum().backward()
    A, B = found.weights("default")
    seen = {"x": x.grad, "gate": gate.grad, "A": A.grad, "B": B.grad}
    assert seen.pop(frozen) is None
    assert all(torch.equal(gradient, wanted[name]) for name, gradient in seen.items())


def test_little_is_kept_per_token_beyond_the_input() -> None:
    """bf16: 20 ranks of 2 bytes; the gates' 8 are kept once for all linears of the group."""
    found = layer(dtype=torch.bfloat16)
    x, gate = torch.randn(1, T, D, dtype=torch.bfloat16).requires_grad_(), gates(torch.float32)
    found.opened.gates["default"] = gate
    known = {x.data_ptr(), *(parameter.data_ptr() for parameter in found.parameters())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in known:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.itemsize
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = found(x)
    assert sum(kept.values()) == (2 * (LOW + HIGH) + 8) * T
    y.sum().backward()


def test_an_output_that_somebody_holds_stays_as_it_was() -> None:
    found, y = layer(), torch.randn(T, O, dtype=torch.float64)
    before = y.clone()
    A, B = found.weights("default")
    apply_pair(y, torch.randn(T, D, dtype=torch.float64), Pair(A, B, None, LOW), in_place=False)
    assert torch.equal(y, before)


def test_no_token_at_all_moves_nothing() -> None:
    empty = torch.randn(0, D, dtype=torch.float64)
    y, *found = result_and_gradients(layer(), empty, torch.zeros(2, 0, dtype=torch.float64))
    assert y.shape == (0, O)
    assert not any(gradient.any() for gradient in found)
