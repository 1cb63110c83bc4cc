"""The Mixture-of-LoRA layer as a PEFT module: parameters, names, and which adapters act."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from ..errors import CheckpointError
from .called import call_molora
from .kernel import Adapter, GateLoss, Kernel, apply_molora, product_type
from .plain import computable_here, owns_output, plain, transformed

UNMERGEABLE = (
    "A MOLoRA adapter cannot be merged into the base weights: its gate depends on the input. Load it with "
    "`finetuning_type: citi`, or write a self-contained model with `llamafactory-cli export`."
)


class MoLoraLinear(nn.Module, BaseTunerLayer):
    """A frozen linear with a Mixture-of-LoRA adapter beside it.

    Parameters of adapter `name` (the checkpoint drops the name): `molora_router.name.weight` (E, D);
    `molora_A.name.weight` (N R, D), expert i (from 0) = rows i R .. (i + 1) R - 1, gated by router output E - N + i;
    `molora_B.name.weight` (O, N R), expert i = the same columns.
    """

    adapter_layer_names = ("molora_router", "molora_A", "molora_B")
    other_param_names = ("num_experts", "rank", "scaling")

    def __init__(
        self,
        base_layer: nn.Module,
        adapter_name: str,
        *,
        num_experts: int,
        r: int,
        alpha: float,
        init_weights: bool,
        neutral_gate: bool = True,
    ) -> None:
        super().__init__()
        self.base_layer = base_layer
        linear: nn.Linear = BaseTunerLayer.get_base_layer(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.molora_router, self.molora_A, self.molora_B = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        self.num_experts: dict[str, int] = {}
        self.rank: dict[str, int] = {}
        self.scaling: dict[str, float] = {}
        self.layer_name = ""
        self.gate_loss: GateLoss | None = None
        self.kernel: Kernel = "torch"
        self._disable_adapters = False
        self.merged_adapters: list[str] = []
        self.update_layer(
            adapter_name,
            num_experts=num_experts,
            r=r,
            alpha=alpha,
            init_weights=init_weights,
            neutral_gate=neutral_gate,
        )

    def update_layer(
        self,
        adapter_name: str,
        *,
        num_experts: int,
        r: int,
        alpha: float,
        init_weights: bool,
        neutral_gate: bool = True,
    ) -> None:
        """Add adapter `adapter_name`; it starts as the identity unless `init_weights` is False."""
        self.num_experts[adapter_name], self.rank[adapter_name] = num_experts, r
        self.scaling[adapter_name] = alpha / r
        self.molora_router[adapter_name] = nn.Linear(self.in_features, num_experts + neutral_gate, bias=False)
        self.molora_A[adapter_name] = nn.Linear(self.in_features, num_experts * r, bias=False)
        self.molora_B[adapter_name] = nn.Linear(num_experts * r, self.out_features, bias=False)
        router_ED, A_ND, B_ON = self.weights(adapter_name)
        for weights in (router_ED, A_ND):
            nn.init.kaiming_uniform_(weights, a=math.sqrt(5))  # nn.Linear's and LoRA's own
        if init_weights:
            nn.init.zeros_(B_ON)
        else:
            nn.init.normal_(B_ON, std=0.02)
        BaseTunerLayer._move_adapter_to_device_of_base_layer(self, adapter_name)
        BaseTunerLayer.set_adapter(self, self.active_adapters)

    def weights(self, adapter_name: str) -> tuple[Tensor, Tensor, Tensor]:
        """Return router (E, D), A (N R, D) and B (O, N R) of an adapter."""
        router, A, B = self._linears(adapter_name)
        return cast(nn.Linear, router).weight, cast(nn.Linear, A).weight, cast(nn.Linear, B).weight

    def _linears(self, adapter_name: str) -> tuple[nn.Module, nn.Module, nn.Module]:
        """Return router, A and B of an adapter, or what somebody put in their places."""
        return self.molora_router[adapter_name], self.molora_A[adapter_name], self.molora_B[adapter_name]

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Map x (..., D) to (..., O)."""
        active = [] if self.disable_adapters else cast(list[str], self.active_adapters)
        names = [name for name in active if name in self.molora_A]
        if not names:
            return self.base_layer(x, *args, **kwargs)
        if self.gate_loss is not None and self.gate_loss.alone:
            router_ED = self.weights(names[0])[0].detach()
            self.gate_loss.learn(self.layer_name, x.detach().to(product_type(x)), router_ED)
            return self.base_layer(x, *args, **kwargs)
        base, called = self.base_layer, transformed()
        fused = {name: not called and all(map(plain, self._linears(name))) for name in names}
        whole = fused[names[0]] and computable_here(base)
        result: Any = base if whole else base(x, *args, **kwargs)
        own = whole or owns_output(base)
        for name in names:
            size = self.rank[name], self.scaling[name]
            if fused[name]:
                adapter = Adapter(*self.weights(name), *size, self.layer_name, self.gate_loss, self.kernel)
                result = apply_molora(result, x, adapter, in_place=own)
            else:
                result = call_molora(result, x, self._linears(name), *size, self.layer_name, self.gate_loss)
            own = True
        return result

    def gates(self, x: Tensor, adapter_name: str = "default") -> Tensor:
        """Return the router's output G(x) for x (..., D): (..., E) in float32 at least."""
        logits = nn.functional.linear(x, self.weights(adapter_name)[0].to(x.dtype))
        return logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(dim=-1)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        raise CheckpointError(UNMERGEABLE)

    def unmerge(self) -> None:
        """Merge nothing, ever."""

    def __repr__(self) -> str:
        return "molora." + super().__repr__()
