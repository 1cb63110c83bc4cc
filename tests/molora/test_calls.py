"""Whatever stands around a linear is called as LoRA calls it: hooks, replaced forwards, offloading, wrappers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import cpu_offload, disk_offload, dispatch_model
from torch import Tensor, nn
from torch.nn.modules import module as global_hooks
from torch.nn.utils import parametrize, prune

from beside_lora import METHODS, WIDTH_IN, WIDTH_OUT, adapted, assert_same, gradients, layer, leaves, logits

pytestmark = pytest.mark.fast

every_method = pytest.mark.parametrize("method", METHODS)


def linears(model: nn.Module) -> list[nn.Module]:
    """The base linear and the adapter's own, of one adapted linear."""
    return [module for module in layer(model).modules() if type(module) is nn.Linear]


@every_method
def test_a_forward_hook_sees_every_linear_once_and_what_it_keeps_stays(method: str) -> None:
    model, kept = adapted(method), {}
    for module in leaves(model):
        module.register_forward_hook(
            lambda module, _, output: kept.setdefault(module, []).append((output, output.clone()))
        )
    found = gradients(model)
    assert set(kept) == set(leaves(model))
    assert all(len(calls) == 1 and torch.equal(*calls[0]) for calls in kept.values())
    assert_same(found, gradients(adapted(method)))


@every_method
def test_full_backward_hooks_on_every_module_fire_and_change_no_gradient(method: str) -> None:
    model, seen = adapted(method), set()
    model.enable_input_require_grads()
    for module in model.modules():
        module.register_full_backward_hook(lambda module, *_: seen.add(module))
    assert_same(gradients(model), gradients(adapted(method)))
    assert set(leaves(model)) <= seen


@every_method
@pytest.mark.parametrize("register", ["forward_pre", "forward", "full_backward_pre", "full_backward"])
def test_a_hook_for_all_modules_sees_every_linear(method: str, register: str) -> None:
    model, seen = adapted(method), set()
    model.enable_input_require_grads()
    handle = getattr(global_hooks, f"register_module_{register}_hook")(lambda module, *_: seen.add(module) and None)
    try:
        found = gradients(model)
    finally:
        handle.remove()
    assert set(leaves(model)) <= seen
    assert_same(found, gradients(adapted(method)))


@every_method
@pytest.mark.parametrize("place", range(3))
def test_what_a_hook_puts_in_place_of_an_input_or_output_counts(method: str, place: int) -> None:
    x = torch.randn(3, WIDTH_IN)
    for register in ("register_forward_pre_hook", "register_forward_hook"):
        model = adapted(method)
        before = layer(model)(x)
        target = linears(model)[place]
        getattr(target, register)(lambda module, inputs, *outputs: 2 * outputs[0] if outputs else (2 * inputs[0],))
        assert not torch.allclose(layer(model)(x), before)


def _method_of_another_kind(base: nn.Module) -> None:
    original = base.forward
    base.forward = lambda x: original(x) + 1


def _class_of_its_own(base: nn.Module) -> None:
    base.__class__ = type("PlusOne", (nn.Linear,), {"forward": lambda self, x: nn.Linear.forward(self, x) + 1})


def _parametrized(base: nn.Module) -> None:
    class PlusOne(nn.Module):
        def forward(self, bias: Tensor) -> Tensor:
            return bias + 1

    base.bias = nn.Parameter(torch.zeros(WIDTH_OUT), requires_grad=False)
    parametrize.register_parametrization(base, "bias", PlusOne())


def _compiled(base: nn.Module) -> None:
    _method_of_another_kind(base)
    base.compile(backend="eager")


def _tensor_of_another_kind(base: nn.Module) -> None:
    class PlusOne(Tensor):
        @classmethod
        def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function is not nn.functional.linear:
                return super().__torch_function__(function, types, args, kwargs or {})
            return function(*(part.as_subclass(Tensor) if isinstance(part, cls) else part for part in args)) + 1

    base.weight = nn.Parameter(base.weight.detach().as_subclass(PlusOne), requires_grad=False)


CHANGED = [_method_of_another_kind, _class_of_its_own, _parametrized, _compiled, _tensor_of_another_kind]


@every_method
@pytest.mark.parametrize("change", CHANGED)
def test_a_base_that_does_more_than_a_linear_is_called(method: str, change: Callable[[nn.Module], None]) -> None:
    model, x = adapted(method), torch.randn(2, 3, WIDTH_IN)
    before = layer(model)(x)
    change(layer(model).base_layer)
    assert torch.allclose(layer(model)(x), before + 1, atol=1e-5)


@every_method
def test_a_pruned_base_is_pruned(method: str) -> None:
    model = adapted(method)
    x, base = torch.randn(3, WIDTH_IN), layer(model).base_layer
    with torch.no_grad():
        experts = layer(model)(x) - base(x)
    prune.random_unstructured(base, "weight", amount=0.5)
    base.requires_grad_(False)
    assert torch.allclose(layer(model)(x), base(x) + experts, atol=1e-5)


@every_method
def test_a_forward_replaced_for_all_linears_is_called(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, original, calls = adapted(method), nn.Linear.forward, []
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: calls.append(self) or original(self, x))
    found = logits(model)
    assert set(leaves(model)) <= set(calls)
    monkeypatch.undo()
    assert torch.allclose(found, logits(model), atol=1e-5)


@every_method
@pytest.mark.parametrize("place", range(3))
def test_a_replaced_forward_of_any_linear_is_called(method: str, place: int) -> None:
    model, calls = adapted(method), []
    target = linears(model)[place]
    original = target.forward
    target.forward = lambda x: calls.append(x) or original(x)
    assert_same(gradients(model), gradients(adapted(method)))
    assert len(calls) == 1


@every_method
def test_an_output_that_its_maker_keeps_is_not_changed(method: str) -> None:
    class Cached(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            self.kept = super().forward(x)
            return self.kept

    model, x = adapted(method), torch.randn(3, WIDTH_IN)
    base = layer(model).base_layer
    base.__class__ = Cached
    assert not torch.equal(layer(model)(x), base.kept)
    assert torch.equal(base.kept, nn.functional.linear(x, base.weight, base.bias))


def _offload_to_cpu(model: nn.Module, folder: Path) -> None:
    cpu_offload(model, execution_device=torch.device("cpu"))


def _offload_to_disk(model: nn.Module, folder: Path) -> None:
    disk_offload(model, str(folder), execution_device=torch.device("cpu"))


def _dispatch(model: nn.Module, folder: Path) -> None:
    names = [name for name, module in model.named_modules() if isinstance(module, nn.ModuleList) and len(module) == 2]
    (blocks,) = names
    outer = blocks.rpartition(".")[0]
    parts = {f"{outer}.{name}": "cpu" for name, _ in model.get_submodule(outer).named_children() if name != "layers"}
    places = parts | {outer.rpartition(".")[0] + ".lm_head": "cpu", f"{blocks}.0": "disk", f"{blocks}.1": "cpu"}
    dispatch_model(model, places, main_device="cpu", offload_dir=str(folder), force_hooks=True)


@every_method
@pytest.mark.parametrize("offload", [_offload_to_cpu, _offload_to_disk, _dispatch])
def test_accelerate_may_keep_the_weights_elsewhere(method: str, offload: Callable[..., None], tmp_path: Path) -> None:
    model = adapted(method)
    offload(model, tmp_path)
    assert any(parameter.is_meta for parameter in model.parameters())
    assert torch.allclose(logits(model), logits(adapted(method)), atol=1e-5)
