"""The linear with a low and a high pair as a PEFT module: parameters, names, and which adapters act."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn

from ..errors import CheckpointError, OptionError
from ..molora.plain import computable_here, owns_output, plain, transformed
from .gate import DataAdapterLayer, Opened
from .kernel import Pair, apply_pair, call_pair

UNMERGEABLE = (
    "This DATA adapter cannot be merged into the base weights: its gates depend on the input. Only adapters with "
    "gate: none merge."
)


class DataAdapterLinear(nn.Module, DataAdapterLayer):
    """A frozen linear with a low and a high pair beside it.

    Parameters of adapter `name` (the checkpoint drops the name): `data_adapter_A.name.weight` (r1 + r2, D), the low
    rows first; `data_adapter_B.name.weight` (O, r1 + r2), the low columns first.
    """

    adapter_layer_names = ("data_adapter_A", "data_adapter_B")
    other_param_names = ("low_rank", "gated")

    def __init__(self, base_layer: nn.Module, opened: Opened) -> None:
        super().__init__()
        self.base_layer = base_layer
        linear: nn.Linear = BaseTunerLayer.get_base_layer(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.data_adapter_A, self.data_adapter_B = nn.ModuleDict(), nn.ModuleDict()
        self.low_rank: dict[str, int] = {}
        self.gated: dict[str, bool] = {}
        self.opened = opened
        self._disable_adapters = False
        self.merged_adapters: list[str] = []

    def update_layer(
        self, adapter_name: str, *, low_rank: int, high_rank: int, init: str, gated: bool, init_weights: bool
    ) -> None:
        """Add adapter `adapter_name`; it starts as the identity unless `init_weights` is False."""
        self.low_rank[adapter_name], self.gated[adapter_name] = low_rank, gated
        rank = low_rank + high_rank
        self.data_adapter_A[adapter_name] = nn.Linear(self.in_features, rank, bias=False)
        self.data_adapter_B[adapter_name] = nn.Linear(rank, self.out_features, bias=False)
        A_RD, B_OR = self.weights(adapter_name)
        if init == "reference":
            for rows, ranks in ((A_RD[:low_rank], low_rank), (A_RD[low_rank:], high_rank)):
                nn.init.normal_(rows, std=1 / ranks**2)
        else:
            nn.init.kaiming_uniform_(A_RD, a=math.sqrt(5))  # nn.Linear's and LoRA's own
        if init_weights:
            nn.init.zeros_(B_OR)
        else:
            nn.init.normal_(B_OR, std=0.02)
        BaseTunerLayer._move_adapter_to_device_of_base_layer(self, adapter_name)
        BaseTunerLayer.set_adapter(self, self.active_adapters)

    def weights(self, adapter_name: str) -> tuple[Tensor, Tensor]:
        """Return A (r1 + r2, D) and B (O, r1 + r2) of an adapter."""
        A, B = self._linears(adapter_name)
        return cast(nn.Linear, A).weight, cast(nn.Linear, B).weight

    def _linears(self, adapter_name: str) -> tuple[nn.Module, nn.Module]:
        """Return A and B of an adapter, or what somebody put in their places."""
        return self.data_adapter_A[adapter_name], self.data_adapter_B[adapter_name]

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Map x (..., D) to (..., O)."""
        if self.disable_adapters:
            if self.merged:
                self.unmerge()
            return self.base_layer(x, *args, **kwargs)
        active = [name for name in cast(list[str], self.active_adapters) if name in self.data_adapter_A]
        names = [name for name in active if name not in self.merged_adapters]
        if not names:
            return self.base_layer(x, *args, **kwargs)
        base, called = self.base_layer, transformed()
        fused = {name: not called and all(map(plain, self._linears(name))) for name in names}
        whole = fused[names[0]] and computable_here(base)
        result: Any = base if whole else base(x, *args, **kwargs)
        own = whole or owns_output(base)
        for name in names:
            gate_2T, low = self._gate(name, x), self.low_rank[name]
            if fused[name]:
                result = apply_pair(result, x, Pair(*self.weights(name), gate_2T, low), in_place=own)
            else:
                result = call_pair(result, x, *self._linears(name), gate_2T, low)
            own = True
        return result

    def _gate(self, name: str, x: Tensor) -> Tensor | None:
        """Return the open gates of x's tokens, (2, T); None where they are 1."""
        if not self.gated[name]:
            return None
        gate = self.opened.gates.get(name)
        if gate is None or gate[0].numel() != x[..., 0].numel():
            raise OptionError(
                "A DATA adapter's linear was called outside its decoder layer, or with other tokens than the layer "
                "(as experts of a mixture are): its gates are not known. Leave such linears out of target_modules."
            )
        return gate.flatten(1).to(x.device)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add the pairs of adapters with gate: none to the base weights."""
        names = [name for name in check_adapters_to_merge(self, adapter_names) if name in self.data_adapter_A]
        if any(self.gated[name] for name in names):
            raise CheckpointError(UNMERGEABLE)
        for name in names:
            self._add(name, 1)
            self.merged_adapters.append(name)

    def unmerge(self) -> None:
        """Take merged pairs out of the base weights."""
        while self.merged_adapters:
            self._add(self.merged_adapters.pop(), -1)

    @torch.no_grad()
    def _add(self, name: str, sign: int) -> None:
        A_RD, B_OR = self.weights(name)
        weight: Tensor = BaseTunerLayer.get_base_layer(self).weight
        weight.add_((B_OR @ A_RD).to(weight.dtype).to(weight.device), alpha=sign)

    def __repr__(self) -> str:
        return "duo." + super().__repr__()
