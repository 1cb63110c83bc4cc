"""The exported model types for transformers: the base architecture with DATA's pairs and gates inside.

What it does: defines data_llama and so on, one type per row of `families.py`, which load the tensors
`<linear>.data.A` (r1 + r2, D), `<linear>.data.B` (O, r1 + r2), `<first layer of a group>.data_gate.A` (2, k, D) and
`.data_gate.c` (2, k) beside the backbone's own names. Serving needs no K and no W: they act through c alone. What it
does not do: train. A loader that does not know these types refuses the directory, as it should.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..duo.gate import Opened
from ..duo.gating import gate_logits
from ..duo.kernel import Pair, apply_pair
from ..serving.exported import ExportedMixin, define

BLOCK, PREFIX = "data", "data_"
NAME = "exported"  # of the one adapter in `Opened`


class ExportedPair(nn.Module):
    """The tensors of one linear's low and high pair."""

    def __init__(self, d_in: int, d_out: int, rank: int, **factory: Any) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.zeros(rank, d_in, **factory))
        self.B = nn.Parameter(torch.zeros(d_out, rank, **factory))


class GatedPairLinear(nn.Linear):
    """A linear of an exported model with its pairs inside."""

    def __init__(self, linear: nn.Linear, opened: Opened, low_rank: int, high_rank: int) -> None:
        factory = {"device": linear.weight.device, "dtype": linear.weight.dtype}
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, **factory)
        self.opened, self.low_rank = opened, low_rank
        self.data = ExportedPair(linear.in_features, linear.out_features, low_rank + high_rank, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., D) to (..., O)."""
        gate_2T = self.opened.gates[NAME].flatten(1).to(x.device)
        return apply_pair(super().forward(x), x, Pair(self.data.A, self.data.B, gate_2T, self.low_rank))


class ExportedGate(nn.Module):
    """The gates of a group of layers: A and one scalar per row."""

    def __init__(self, rows: int, width: int, opened: Opened, **factory: Any) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.zeros(2, rows, width, **factory))
        self.c = nn.Parameter(torch.zeros(2, rows, **factory))
        self.opened = opened

    def enter(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Open the gates: the forward pre-hook of the group's first layer."""
        h = args[0] if args else kwargs["hidden_states"]
        self.opened.gates[NAME] = self(h)

    def forward(self, h: Tensor) -> Tensor:
        """Return the low and the high gate of every token: (2, B, L)."""
        c_2k = self.c.to(torch.promote_types(self.c.dtype, torch.float32))
        return gate_logits(h, self.A[:, :0], self.A, c_2k).sigmoid()


class DataMixin(ExportedMixin):
    """Puts pairs and gates where the config names them."""

    block: ClassVar[str] = BLOCK
    marks: ClassVar[tuple[str, ...]] = (".data.", ".data_gate.")

    def put(self, settings: dict[str, Any], config: Any) -> None:
        """Put pairs and gates in.

        Args:
            settings: the block `data`.
            config: transformers' configuration.
        """
        layers: Any = self.get_submodule("model.layers")  # type: ignore[attr-defined]
        weight = next(layers.parameters())
        factory = {"device": weight.device, "dtype": weight.dtype}
        groups: list[Opened] = []
        for number, layer in enumerate(layers):
            if number % settings["layers_per_gate"] == 0:
                groups.append(Opened())
                layer.data_gate = ExportedGate(settings["rows"], config.hidden_size, groups[-1], **factory)
                layer.register_forward_pre_hook(layer.data_gate.enter, with_kwargs=True)
        for name in settings["target_modules"]:
            number = int(name.split(".")[2])
            parent_name, _, child = name.rpartition(".")
            parent = self.get_submodule(parent_name)  # type: ignore[attr-defined]
            opened = groups[number // settings["layers_per_gate"]]
            linear = GatedPairLinear(getattr(parent, child), opened, settings["low_rank"], settings["high_rank"])
            setattr(parent, child, linear)


MODEL_TYPES: dict[str, tuple[Any, Any]] = define("Data", DataMixin, __name__, "DATA (arXiv:2502.11482)")
globals().update({kind.__name__: kind for pair in MODEL_TYPES.values() for kind in pair})  # where pickle looks
