"""The exported model types for transformers: the base architecture with MOLoRA in chosen linears.

What it does: defines citi_llama and so on, one type per row of `families.py`, which load the tensors
`<module>.molora.A` (N, R, D), `.molora.B` (N, O, R) and `.molora.router` (E, D) beside the backbone's own names; E is
N + 1, or N where the config says `neutral_gate: false`. What it does not do: train. A loader that does not know these
types refuses the directory, as it should: without the adapters it is another model.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..molora.kernel import Adapter, apply_molora
from ..serving.exported import ExportedMixin, define

BLOCK, PREFIX = "citi", "citi_"


class ExportedMoLora(nn.Module):
    """The adapter's tensors in the export's layout."""

    def __init__(self, d_in: int, d_out: int, num_experts: int, r: int, gates: int, **factory: Any) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.zeros(num_experts, r, d_in, **factory))
        self.B = nn.Parameter(torch.zeros(num_experts, d_out, r, **factory))
        self.router = nn.Parameter(torch.zeros(gates, d_in, **factory))


class GatedLinear(nn.Linear):
    """A linear of an exported model with its adapter inside."""

    def __init__(self, linear: nn.Linear, num_experts: int, r: int, alpha: float, gates: int) -> None:
        factory = {"device": linear.weight.device, "dtype": linear.weight.dtype}
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, **factory)
        self.scaling = alpha / r
        self.molora = ExportedMoLora(linear.in_features, linear.out_features, num_experts, r, gates, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., D) to (..., O)."""
        A_ND, B_ON = self.molora.A.flatten(0, 1), self.molora.B.permute(1, 0, 2).flatten(1)
        adapter = Adapter(self.molora.router, A_ND, B_ON, self.molora.A.shape[1], self.scaling)
        return apply_molora(super().forward(x), x, adapter)


class CitiMixin(ExportedMixin):
    """Puts `GatedLinear` in place of the linears that the config names."""

    block: ClassVar[str] = BLOCK
    marks: ClassVar[tuple[str, ...]] = (".molora.",)

    def put(self, settings: dict[str, Any], config: Any) -> None:
        """Put the adapters in.

        Args:
            settings: the block `citi`.
            config: transformers' configuration.
        """
        experts, r, alpha = settings["num_experts"], settings["r"], settings["alpha"]
        gates = experts + settings.get("neutral_gate", True)
        for name in settings["target_modules"]:
            parent_name, _, child = name.rpartition(".")
            parent = self.get_submodule(parent_name)  # type: ignore[attr-defined]
            setattr(parent, child, GatedLinear(getattr(parent, child), experts, r, alpha, gates))


MODEL_TYPES: dict[str, tuple[Any, Any]] = define("Citi", CitiMixin, __name__, "MOLoRA (CITI, arXiv:2409.13202)")
globals().update({kind.__name__: kind for pair in MODEL_TYPES.values() for kind in pair})  # where pickle looks
