"""What we compare with: PEFT's LoRA, and MOLoRA written down naively, one expert after the other."""

from __future__ import annotations

import torch
from peft import LoraConfig
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn


def lora_linear(base: nn.Linear, rank: int) -> nn.Module:
    """PEFT's LoRA on a linear, in the linear's own number type, which is its fastest."""
    config = LoraConfig(r=rank, lora_alpha=rank)
    layer = LoraLinear(base, "default", config=config, r=rank, lora_alpha=rank)
    nn.init.normal_(layer.lora_B["default"].weight, std=0.02)
    return layer.to(base.weight.device, base.weight.dtype)


class LoopedMoLora(nn.Module):
    """MOLoRA as published mixtures of LoRA experts are written: a linear pair per expert, a loop, autograd."""

    def __init__(self, base: nn.Linear, experts: int, rank: int, alpha: float = 2.0) -> None:
        super().__init__()
        factory = {"bias": False, "device": base.weight.device, "dtype": base.weight.dtype}
        self.base_layer, self.scaling = base, alpha / rank
        self.router = nn.Linear(base.in_features, experts + 1, **factory)
        self.A = nn.ModuleList(nn.Linear(base.in_features, rank, **factory) for _ in range(experts))
        self.B = nn.ModuleList(nn.Linear(rank, base.out_features, **factory) for _ in range(experts))
        self.gates: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Maps x (..., D) to (..., O) and remembers the gates, for a router loss."""
        result = self.base_layer(x)
        logits = self.router(x)
        self.gates = torch.softmax(logits, dim=-1, dtype=torch.promote_types(logits.dtype, torch.float32))
        gates = self.gates.to(result.dtype)
        for i, (A, B) in enumerate(zip(self.A, self.B, strict=True)):
            result = result + gates[..., i + 1 : i + 2] * (B(A(x)) * self.scaling)
        return result

    @torch.no_grad()
    def take(self, router_ED: Tensor, A_ND: Tensor, B_ON: Tensor) -> None:
        """Takes over the weights of a `MoLoraLinear`."""
        self.router.weight.copy_(router_ED)
        rank = self.A[0].out_features
        for i, (A, B) in enumerate(zip(self.A, self.B, strict=True)):
            A.weight.copy_(A_ND[i * rank : (i + 1) * rank])
            B.weight.copy_(B_ON[:, i * rank : (i + 1) * rank])

    def gradients(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of router, A and B, in the shapes of `MoLoraLinear.weights`."""
        A = torch.cat([expert.weight.grad for expert in self.A])
        B = torch.cat([expert.weight.grad for expert in self.B], dim=1)
        return self.router.weight.grad, A, B
