"""Tell when a linear may be computed without calling it: when a call would do nothing but torch's own forward.

PEFT's users put hooks on layers, replace an instance's `forward` (accelerate's offloading does), swap the weight for a
tensor of their own (torchao) or wrap whole modules (FSDP 1). Each of them counts on the call.
"""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as registry

_FORWARD = nn.Linear.forward


def plain(module: nn.Module) -> TypeGuard[nn.Linear]:
    """Tell whether calling `module` runs torch's `nn.Linear.forward` and nothing else."""
    return type(module) is nn.Linear and nn.Linear.forward is _FORWARD and _unwatched(module)


def computable_here(base: nn.Module) -> TypeGuard[nn.Linear]:
    """Tell whether the linear is plain, frozen and whole: it may be computed here without calling it."""
    if not plain(base):
        return False
    bias: Tensor | None = base.bias
    return _frozen(base.weight) and (bias is None or _frozen(bias))


def owns_output(base: nn.Module) -> bool:
    """Tell whether what a call of `base` returned is held by nobody else, so that it may be changed in place."""
    return plain(base) or (type(base).__module__.startswith("bitsandbytes.") and _unwatched(base))


def transformed() -> bool:
    """Tell whether torch.func, forward-mode derivatives or torch.jit look on: they take torch's own operators only."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0 or torch.jit.is_tracing()  # type: ignore[attr-defined]


def _frozen(weight: Tensor) -> bool:
    """Tell whether a parameter needs no gradient and is torch's own; DeepSpeed's parts carry `ds_id`."""
    return type(weight) in (nn.Parameter, Tensor) and not weight.requires_grad and not hasattr(weight, "ds_id")


def _unwatched(module: nn.Module) -> bool:
    """Tell whether no hook, no replaced `forward` and no compiled call stands between a caller and the class."""
    return not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or module._compiled_call_impl is not None
        or getattr(module.forward, "__func__", None) is not type(module).forward
        or registry._global_forward_hooks
        or registry._global_forward_pre_hooks
        or registry._global_backward_hooks
        or registry._global_backward_pre_hooks
    )
