"""Computing the base linear along with the experts changes no number, keeps little, and steps aside when it must."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from llamafactory_ext.molora import MoLoraLinear
from llamafactory_ext.molora.kernel import Adapter, apply_molora
from llamafactory_ext.molora.plain import computable_here

pytestmark = pytest.mark.fast

N, R, D, O, T = 4, 8, 24, 40, 50  # noqa: E741


def layer(bias: bool = True, dtype: torch.dtype = torch.float64) -> MoLoraLinear:
    torch.manual_seed(0)
    linear = nn.Linear(D, O, bias=bias, dtype=dtype).requires_grad_(False)
    return MoLoraLinear(linear, "default", num_experts=N, r=R, alpha=2.0, init_weights=False).to(dtype)


def result_and_gradients(found: MoLoraLinear, x: Tensor) -> list[Tensor]:
    x = x.clone().requires_grad_()
    found.zero_grad()
    y = found(x)
    y.float().sin().sum().backward()
    return [y.detach(), x.grad, *(parameter.grad for parameter in found.parameters() if parameter.requires_grad)]


@pytest.mark.parametrize("bias", [False, True])
def test_together_equals_one_after_the_other(bias: bool) -> None:
    x = torch.randn(2, T, D, dtype=torch.float64)
    together = result_and_gradients(layer(bias), x)
    apart = layer(bias)
    apart.base_layer.register_forward_hook(lambda *_: None)
    assert computable_here(layer().base_layer)
    assert not computable_here(apart.base_layer)
    for one, other in zip(together, result_and_gradients(apart, x), strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)


def test_under_autocast_products_are_in_its_type_and_gradients_in_the_parameters() -> None:
    found = layer(dtype=torch.float32)
    x = torch.randn(2, T, D)
    full = result_and_gradients(found, x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = result_and_gradients(found, x)
    assert [tensor.dtype for tensor in half] == [torch.bfloat16, *[torch.float32] * 4]
    assert all(torch.allclose(one.float(), other, atol=0.1, rtol=0.1) for one, other in zip(half, full, strict=True))


def test_no_token_at_all_has_no_output_and_moves_nothing() -> None:
    """As the linears of a mixture's expert that nobody chose."""
    y, grad_x, *gradients = result_and_gradients(layer(), torch.randn(0, D, dtype=torch.float64))
    assert y.shape == (0, O)
    assert grad_x.shape == (0, D)
    assert len(gradients) == 3
    assert not any(gradient.any() for gradient in gradients)


def test_a_base_that_trains_is_called_and_gets_its_gradient() -> None:
    found = layer()
    found.base_layer.requires_grad_(True)
    x = torch.randn(3, D, dtype=torch.float64)
    result_and_gradients(found, x)
    assert found.base_layer.weight.grad.abs().sum() > 0


def test_hooks_on_the_base_still_see_its_output() -> None:
    found, seen = layer(), []
    found.base_layer.register_forward_hook(lambda module, args, output: seen.append(output.clone()))
    x = torch.randn(3, D, dtype=torch.float64)
    y = found(x)
    assert torch.allclose(seen[0], nn.functional.linear(x, found.base_layer.weight, found.base_layer.bias))
    assert not torch.equal(seen[0], y)


def test_little_is_kept_per_token_beyond_the_input() -> None:
    """bf16, N = 4, r = 8: u (37 rows) and the gates (5, float32) take 94 bytes."""
    found = layer(dtype=torch.bfloat16)
    x = torch.randn(T, D, dtype=torch.bfloat16).requires_grad_()
    known = {x.data_ptr(), *(parameter.data_ptr() for parameter in found.parameters())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in known:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.itemsize
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = found(x)
    assert sum(kept.values()) == 94 * T
    y.sum().backward()


def test_an_output_that_is_a_view_may_be_changed_in_place() -> None:
    """As fused projections hand it out."""
    found, x = layer(bias=False), torch.randn(T, D, dtype=torch.float64)
    outputs = torch.randn(T, 2 * O, dtype=torch.float64, requires_grad=True)
    adapter = Adapter(*found.weights("default"), R, 0.25)
    y = apply_molora(outputs.clone()[None, :, :O].contiguous().squeeze(0), x, adapter)
    y.sum().backward()
    assert torch.equal(outputs.grad[:, :O], torch.ones(T, O).double())
    assert not outputs.grad[:, O:].any()
