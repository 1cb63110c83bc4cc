"""MOLoRA inside a linear of vLLM: one product for the A's and routers of its adapters, one for each adapter's B's.

h = W0 x + sum_i G(x)[i] (alpha / r) B_i A_i x, G = softmax(W_g x), gate 0 driving no expert if there is one more gate
than experts (CITI, arXiv:2409.13202, eq. 6 and 7). Shapes: T tokens, D input and O output width here, N experts, R
rank, E gates, K rows of the A's and routers of all adapters of the (fused) linear.

The products are linears of vLLM, so that it packs their weights for the machine as its own. Rows put into the linear's
own weight instead cost more: on a CPU, 7,208 outputs take up to a quarter longer than 7,168.
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
from ...serving.vllm_plugin.geometry import Slot

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

    @property
    def rows(self) -> int:
        """Of A and router together: N R + E."""
        return self.ranks + self.gates


def gated(u_TK: Tensor, size: Size) -> Tensor:
    """Return the experts' activations times gate and alpha / r: (T, N R).

    Args:
        u_TK: products of x with A (N R rows) and router (E rows) of one adapter.
        size: N, E, R, alpha / r.
    """
    gates_TE = u_TK[:, size.ranks :].softmax(dim=-1, dtype=torch.float32)
    weights_TN = (gates_TE[:, -size.experts :] * size.scaling).to(u_TK.dtype)
    a_TNR = u_TK[:, : size.ranks].unflatten(1, (size.experts, size.rank))
    return (a_TNR * weights_TN.unsqueeze(-1)).flatten(1)


class _Product(nn.Module):
    """A weight like any other, which vLLM packs for the machine after loading."""

    def __init__(self, d_out: int, d_in: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(d_out, d_in), requires_grad=False)
        self.bias = None
        self.quant_method = UnquantizedLinearMethod()

    def forward(self, x: Tensor) -> Tensor:
        """Map x (T, inputs) to (T, outputs)."""
        result: Tensor = self.quant_method.apply(self, x)
        return result


class PackedMoLora(nn.Module):
    """All adapters of one (fused) linear, packed while they are loaded.

    Rows of `down` (K, D): A and router of each slot in turn, then zeros. `ups` are the B's, each only as wide as the
    outputs it adds to.

    Args:
        slots: the adapters and where they lie.
        size: N, E, R, alpha / r.
        d_in, d_out: the linear's widths in this process.
        spread_inputs: the linear's inputs are spread over processes.
    """

    def __init__(self, slots: Sequence[Slot], size: Size, d_in: int, d_out: int, *, spread_inputs: bool) -> None:
        super().__init__()
        self.slots, self.size, self.d_out, self.spread_inputs = tuple(slots), size, d_out, spread_inputs
        self.first, self.last = slots[0].ranks
        rows = len(slots) * size.rows
        self.down = _Product(rows + -rows % ROWS, d_in)
        widths = [stop - start for start, stop in (slot.outputs for slot in slots)]
        held = self.last - self.first  # none if there are more processes than columns
        self.ups = nn.ModuleList(_Product(width, held) for width in widths if held)
        self.order = sorted(range(len(self.ups)), key=lambda number: slots[number].outputs)

    def forward(self, y_TO: Tensor, x_TD: Tensor) -> Tensor:
        """Return the linear's output with the experts' added."""
        u_TK = self.down(x_TD)
        if self.spread_inputs:
            u_TK = tensor_model_parallel_all_reduce(u_TK)
        pieces, end = [], 0
        for number in self.order:
            start, stop = self.slots[number].outputs
            h_TN = gated(u_TK[:, number * self.size.rows : (number + 1) * self.size.rows], self.size)
            pieces += [y_TO[:, end:start]] if end < start else []
            pieces.append(y_TO[:, start:stop] + self.ups[number](h_TN[:, self.first : self.last]))
            end = stop
        pieces += [y_TO[:, end:]] if end < self.d_out else []
        return torch.cat(pieces, 1) if len(pieces) > 1 else pieces[0]

    def load(self, number: int, kind: str, tensor: Tensor) -> str:
        """Take tensor `kind` (A, B or router) of slot `number` from the checkpoint; the name of what it went into."""
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
        if kind == "B" and not self.ups:
            return "down.weight"
        if kind == "B":
            B_ON = tensor.permute(1, 0, 2).flatten(1)[:, self.first : self.last]
            up: Any = self.ups[number]
            for start, stop, local in slot.pieces:
                to = local - slot.outputs[0]
                up.weight.data[to : to + stop - start].copy_(B_ON[start:stop])
            return f"ups.{number}.weight"
        first = number * size.rows + (0 if kind == "A" else size.ranks)
        rows = tensor.flatten(0, -2)[:, slice(*slot.columns)]
        self.down.weight.data[first : first + len(rows)].copy_(rows)
        return "down.weight"


class MoLoraLinearMethod(UnquantizedLinearMethod):
    """An unquantised linear whose `molora` (PackedMoLora) adds to its output."""

    def apply(self, layer: Any, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Map x (T, D) to (T, O)."""
        result: Tensor = layer.molora(super().apply(layer, x, bias), x)
        return result
