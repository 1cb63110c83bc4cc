"""What torch does with any model it does here as with LoRA: sharding, derivatives, tracing, number types."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from peft.utils.other import fsdp_auto_wrap_policy
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import FullyShardedDataParallel

from beside_lora import (
    IDS,
    METHODS,
    TARGETS,
    WIDTH_IN,
    WIDTH_OUT,
    adapted,
    assert_same,
    gradients,
    layer,
    leaves,
    logits,
)
from llamafactory_ext.molora import MoLoraLinear

pytestmark = pytest.mark.fast

every_method = pytest.mark.parametrize("method", METHODS)


@contextmanager
def one_process(store: Path) -> Iterator[None]:
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    try:
        yield
    finally:
        distributed.destroy_process_group()


@every_method
@pytest.mark.parametrize("original_parameters", [True, False])
def test_fsdp_1_with_pefts_wrapping_policy(method: str, original_parameters: bool, tmp_path: Path) -> None:
    wanted = gradients(adapted(method))
    with one_process(tmp_path / "store"):
        model = adapted(method)
        wrapped = FullyShardedDataParallel(
            model,
            auto_wrap_policy=fsdp_auto_wrap_policy(model),
            use_orig_params=original_parameters,
            device_id=torch.device("cpu"),
        )
        found = gradients(wrapped)
        assert sum(isinstance(module, FullyShardedDataParallel) for module in wrapped.modules()) > len(wanted)
    assert torch.allclose(found["loss"], wanted["loss"])
    norms = [sorted(gradient.norm().item() for gradient in some.values()) for some in (found, wanted)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


@every_method
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("hooked", [True, False])
def test_gradient_checkpointing_changes_no_gradient(method: str, reentrant: bool, hooked: bool) -> None:
    model = adapted(method).train()
    for module in leaves(model) if hooked else ():
        module.register_forward_hook(lambda *_: None)
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    assert_same(gradients(model), gradients(adapted(method)))


def _mapped(found: nn.Module, x: Tensor) -> Tensor:
    return torch.vmap(found)(x)


def _dual(found: nn.Module, x: Tensor) -> Tensor:
    with torch.autograd.forward_ad.dual_level():
        return torch.autograd.forward_ad.unpack_dual(found(torch.autograd.forward_ad.make_dual(x, x))).tangent


def _traced(found: nn.Module, x: Tensor) -> Tensor:
    return torch.jit.trace(found, x)(x)


def _compiled_whole(found: nn.Module, x: Tensor) -> Tensor:
    return torch.compile(found, backend="aot_eager", fullgraph=True)(x)


def _exported(found: nn.Module, x: Tensor) -> Tensor:
    return torch.export.export(found, (x,)).module()(x)


def _copied(found: nn.Module, x: Tensor) -> Tensor:
    return copy.deepcopy(found)(x)


def _pickled(found: nn.Module, x: Tensor) -> Tensor:
    return pickle.loads(pickle.dumps(found))(x)


@every_method
@pytest.mark.parametrize("use", [_mapped, _traced, _compiled_whole, _exported, _copied, _pickled])
def test_torch_may_map_trace_compile_and_copy_it(method: str, use: Callable[..., Tensor]) -> None:
    found, x = layer(adapted(method)), torch.randn(3, WIDTH_IN)
    assert torch.allclose(use(found, x), found(x), atol=1e-5)


@every_method
def test_torch_may_differentiate_it_in_every_way(method: str) -> None:
    found, x = layer(adapted(method)), torch.randn(3, WIDTH_IN)
    jacobian = torch.stack(
        [torch.autograd.functional.jacobian(lambda x, o=o: found(x).sum(0)[o], x) for o in range(WIDTH_OUT)]
    )
    assert torch.allclose(torch.func.jacrev(lambda x: found(x).sum(0))(x), jacobian, atol=1e-5)
    pushed = torch.func.jvp(found, (x,), (x,))[1]
    assert torch.allclose(_dual(found, x), pushed, atol=1e-5)
    assert torch.allclose((jacobian * x).sum((1, 2)), pushed.sum(0), atol=1e-4)


@every_method
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_models_and_autocast_are_close_to_float32(method: str, dtype: torch.dtype) -> None:
    wanted = logits(adapted(method))
    half = logits(adapted(method).to(dtype))
    assert half.dtype == dtype
    with torch.autocast("cpu", dtype=dtype):
        cast = logits(adapted(method))
    for found in (half, cast):
        assert torch.allclose(found.float(), wanted, atol=0.05 * wanted.abs().max().item())


@every_method
def test_a_model_without_weights_says_its_shapes(method: str) -> None:
    assert adapted(method).to("meta")(input_ids=IDS.to("meta")).logits.shape == (*IDS.shape, 384)


@every_method
@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_hook_on_a_parameters_gradient_fires(method: str, part: int) -> None:
    model, seen = adapted(method), []
    trained = [parameter for parameter in layer(model).parameters() if parameter.requires_grad]
    trained[part % len(trained)].register_post_accumulate_grad_hook(lambda parameter: seen.append(parameter.grad))
    gradients(model)
    assert len(seen) == 1


@pytest.mark.parametrize("hooked", [True, False])
def test_a_loss_on_the_gates_is_served_by_calls_too(hooked: bool) -> None:
    class Push:
        alone = False

        def __init__(self) -> None:
            self.seen: list[Tensor] = []

        def observe(self, layer: str, gates_ET: Tensor) -> None:
            self.seen.append(gates_ET)

        def gradient(self, layer: str, gates_ET: Tensor) -> Tensor:
            return torch.arange(len(gates_ET))[:, None].expand_as(gates_ET).to(gates_ET)

        def learn(self, layer: str, x: Tensor, router_ED: Tensor) -> None:
            raise AssertionError("only where it stands alone")

    def run(hook: bool) -> tuple[list[Tensor], dict[str, Tensor]]:
        model, push = adapted("MOLoRA"), Push()
        model.base_model.set_gate_loss(push)
        for found in (module for module in model.modules() if isinstance(module, MoLoraLinear)):
            if hook:
                found.molora_router["default"].register_forward_hook(lambda *_: None)
        return push.seen, gradients(model)

    (seen, found), (wanted, plain) = run(hooked), run(False)
    assert len(seen) == len(TARGETS)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(seen, wanted, strict=True))
    assert_same(found, plain)
    assert not torch.allclose(plain[next(name for name in plain if "router" in name)], torch.zeros(1), atol=1e-3)
