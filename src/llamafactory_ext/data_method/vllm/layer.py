"""DATA's gates and pairs inside vLLM's layers.

A group's gates are opened before its first layer and read by the group's linears; a gate depends on its own token
alone, so chunked prefill, prefix caching and batches change nothing. Shapes: T tokens, D input and O output width
here, R = r1 + r2 ranks of a pair, k rows of a gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from vllm.distributed import tensor_model_parallel_all_reduce
from vllm.model_executor.layers.linear import UnquantizedLinearMethod

from ...errors import CheckpointError
from ...serving.vllm_plugin.geometry import Slot

_TINY = 1e-12


class Open:
    """The gates of a group in the pass that runs: (T, 2)."""

    gates: Tensor | None = None


class GroupGate(nn.Module):
    """The low and the high gate of a group of layers."""

    def __init__(self, rows: int, width: int, opened: Open) -> None:
        super().__init__()
        self.A = nn.Parameter(torch.zeros(2, rows, width), requires_grad=False)
        self.c = nn.Parameter(torch.zeros(2, rows), requires_grad=False)
        self.opened = opened

    def enter(self, layer: nn.Module, args: tuple[Any, ...]) -> None:
        """Open the gates from what enters the group's first layer: its forward pre-hook."""
        _, hidden, residual = args
        self.opened.gates = self(hidden if residual is None else hidden + residual)

    def forward(self, h_TD: Tensor) -> Tensor:
        """Return both gates of every token: (T, 2)."""
        a_T2k = nn.functional.linear(h_TD, self.A.flatten(0, 1)).float().unflatten(1, (2, -1))
        length_T2 = torch.linalg.vector_norm(a_T2k, dim=-1).clamp_min(_TINY)
        return ((a_T2k * self.c.float()).sum(-1) / length_T2).sigmoid()

    def load(self, kind: str, tensor: Tensor) -> None:
        """Take A or c from the checkpoint."""
        own = getattr(self, kind, None) if kind in ("A", "c") else None
        if own is None or own.shape != tensor.shape:
            wanted = "no such tensor" if own is None else tuple(own.shape)
            raise CheckpointError(
                f"a tensor data_gate.{kind} has the shape {tuple(tensor.shape)}, config.json asks for {wanted}; "
                "export the checkpoint again."
            )
        own.data.copy_(tensor)


class PackedPairs(nn.Module):
    """All pairs of one (fused) linear: one product for their A, one for each one's B.

    Args:
        slots: the adapted linears and where they lie.
        ranks: r1 and r2.
        d_in, d_out: the linear's widths in this process.
        spread_inputs: the linear's inputs are spread over processes.
        opened: the gates of its group.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        ranks: tuple[int, int],
        d_in: int,
        d_out: int,
        *,
        spread_inputs: bool,
        opened: Open,
    ) -> None:
        super().__init__()
        self.slots, self.low, self.rank = tuple(slots), ranks[0], sum(ranks)
        self.d_out, self.spread_inputs, self.opened = d_out, spread_inputs, opened
        self.first, self.last = slots[0].ranks
        self.down = nn.Parameter(torch.zeros(len(slots) * self.rank, d_in), requires_grad=False)
        widths = [stop - start for start, stop in (slot.outputs for slot in slots)]
        held = self.last - self.first
        self.ups = nn.ParameterList(
            nn.Parameter(torch.zeros(width, held), requires_grad=False) for width in widths if held
        )
        self.order = sorted(range(len(self.ups)), key=lambda number: slots[number].outputs)

    def forward(self, y_TO: Tensor, x_TD: Tensor) -> Tensor:
        """Return the linear's output with the pairs' added."""
        u_TK = nn.functional.linear(x_TD, self.down)
        if self.spread_inputs:
            u_TK = tensor_model_parallel_all_reduce(u_TK)
        gates = self.opened.gates
        assert gates is not None
        low, high = gates.to(u_TK.dtype).split(1, dim=1)
        scale_TR = torch.cat([low.expand(-1, self.low), high.expand(-1, self.rank - self.low)], 1)
        pieces, end = [], 0
        for number in self.order:
            start, stop = self.slots[number].outputs
            z_TR = u_TK[:, number * self.rank : (number + 1) * self.rank] * scale_TR
            pieces += [y_TO[:, end:start]] if end < start else []
            added = nn.functional.linear(z_TR[:, self.first : self.last], self.ups[number])
            pieces.append(y_TO[:, start:stop] + added)
            end = stop
        pieces += [y_TO[:, end:]] if end < self.d_out else []
        return torch.cat(pieces, 1) if len(pieces) > 1 else pieces[0]

    def load(self, number: int, kind: str, tensor: Tensor) -> str:
        """Take A or B of slot `number` from the checkpoint; return the name of what it went into."""
        slot = self.slots[number]
        shapes = {"A": (self.rank, slot.d_in), "B": (slot.d_out, self.rank)}
        if tuple(tensor.shape) != shapes.get(kind):
            raise CheckpointError(
                f"tensor {slot.name}.data.{kind} has the shape {tuple(tensor.shape)}, config.json asks for "
                f"{shapes.get(kind, 'no such tensor')}; export the checkpoint again."
            )
        if kind == "A":
            self.down.data[number * self.rank : (number + 1) * self.rank].copy_(tensor[:, slice(*slot.columns)])
            return "down"
        if not self.ups:
            return "down"
        for start, stop, local in slot.pieces:
            to = local - slot.outputs[0]
            self.ups[number].data[to : to + stop - start].copy_(tensor[start:stop, self.first : self.last])
        return f"ups.{number}"


class PairsLinearMethod(UnquantizedLinearMethod):
    """An unquantised linear whose `data` (PackedPairs) adds to its output."""

    def apply(self, layer: Any, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Map x (T, D) to (T, O)."""
        result: Tensor = layer.data(super().apply(layer, x, bias), x)
        return result
