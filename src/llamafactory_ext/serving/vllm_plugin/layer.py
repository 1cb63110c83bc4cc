"""MOLoRA inside a linear of vLLM: two matrix products for all adapters of the linear, fused q, k, v and gate, up too.

h = W0 x + sum_i G(x)[i] (alpha / r) B_i A_i x, G = softmax(W_g x), gate 0 driving no expert if there is one more gate
than experts (CITI, arXiv:2409.13202, eq. 6 and 7). Shapes: T tokens, D input and O output width here, S adapters of
the (fused) linear, N experts, R rank, E gates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from vllm.distributed import tensor_model_parallel_all_reduce
from vllm.model_executor.layers.linear import UnquantizedLinearMethod

from ...errors import CheckpointError
from .geometry import Slot

ROWS = 8  # products whose smallest side is no multiple of 8 run about a third slower


@dataclass(frozen=True)
class Size:
    """What all adapters of a model share: N experts, E gates, R rank, and alpha / r."""

    experts: int
    gates: int
    rank: int
    scaling: float

    @property
    def ranks(self) -> int:
        """N R."""
        return self.experts * self.rank


def gated(u_TK: Tensor, slots: int, size: Size) -> Tensor:
    """The experts' activations times gate and alpha / r: (T, S, N R).

    Args:
        u_TK: products of x with the stacked A's (S N R rows), routers (S E rows) and padding.
        slots: S.
        size: N, E, R, alpha / r.
    """
    width = slots * size.ranks
    logits_TSE = u_TK[:, width : width + slots * size.gates].unflatten(1, (slots, size.gates))
    gates_TSN = logits_TSE.softmax(dim=-1, dtype=torch.float32)[..., -size.experts :]
    weights_TSN = (gates_TSN * size.scaling).to(u_TK.dtype)
    a_TSNR = u_TK[:, :width].unflatten(1, (slots, size.experts, size.rank))
    return (a_TSNR * weights_TSN.unsqueeze(-1)).flatten(2)


class _Down(nn.Module):
    """The stacked A's and routers, a weight like any other, which vLLM packs for the machine after loading."""

    def __init__(self, rows: int, d_in: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(rows, d_in), requires_grad=False)
        self.bias = None
        self.quant_method = UnquantizedLinearMethod()


class PackedMoLora(nn.Module):
    """All adapters of one (fused) linear, packed while they are loaded.

    Rows of `down` (K, D): the A's of all slots, then their routers, then zeros. Rows of `up` (S N R, O): the B's, each
    at the outputs it adds to, zeros elsewhere, so that one product serves all slots.

    Args:
        slots: the adapters and where they lie.
        size: N, E, R, alpha / r.
        d_in, d_out: the linear's widths in this process.
        spread_inputs: the linear's inputs are spread over processes.
    """

    def __init__(self, slots: Sequence[Slot], size: Size, d_in: int, d_out: int, *, spread_inputs: bool) -> None:
        super().__init__()
        self.slots, self.size, self.spread_inputs = tuple(slots), size, spread_inputs
        self.first, self.last = slots[0].ranks
        rows = len(slots) * (size.ranks + size.gates)
        self.down = _Down(rows + -rows % ROWS, d_in)
        self.up = nn.Parameter(torch.zeros(len(slots) * (self.last - self.first), d_out), requires_grad=False)

    def forward(self, y_TO: Tensor, x_TD: Tensor) -> Tensor:
        """The linear's output with the experts' added."""
        u_TK = self.down.quant_method.apply(self.down, x_TD)
        if self.spread_inputs:
            u_TK = tensor_model_parallel_all_reduce(u_TK)
        h_TSN = gated(u_TK, len(self.slots), self.size)[..., self.first : self.last]
        return torch.addmm(y_TO, h_TSN.flatten(1), self.up)

    def load(self, number: int, kind: str, tensor: Tensor) -> str:
        """Takes tensor `kind` (A, B or router) of slot `number` from the checkpoint; the name of what it went into."""
        slot, size = self.slots[number], self.size
        shapes = {
            "A": (size.experts, size.rank, slot.d_in),
            "B": (size.experts, slot.d_out, size.rank),
            "router": (size.gates, slot.d_in),
        }
        if kind not in shapes or tuple(tensor.shape) != shapes[kind]:
            raise CheckpointError(
                f"tensor {slot.name}.molora.{kind} has the shape {tuple(tensor.shape)}, config.json asks for "
                f"{shapes.get(kind, 'no such tensor')}; export the checkpoint again."
            )
        columns = slice(*slot.columns)
        if kind == "B":
            up = self.up.data.unflatten(0, (len(self.slots), self.last - self.first))[number]
            B_ON = tensor.permute(1, 0, 2).flatten(1)[:, self.first : self.last]
            for start, stop, local in slot.pieces:
                up[:, local : local + stop - start].copy_(B_ON[start:stop].t())
            return "up"
        down = self.down.weight.data
        if kind == "A":
            down[number * size.ranks : (number + 1) * size.ranks].copy_(tensor.flatten(0, 1)[:, columns])
        else:
            first = len(self.slots) * size.ranks + number * size.gates
            down[first : first + size.gates].copy_(tensor[:, columns])
        return "down.weight"


class MoLoraLinearMethod(UnquantizedLinearMethod):
    """An unquantised linear whose `molora` (PackedMoLora) adds to its output."""

    def apply(self, layer: Any, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Maps x (T, D) to (T, O)."""
        result: Tensor = layer.molora(super().apply(layer, x, bias), x)
        return result
