"""Which part of each adapter a process of a tensor-parallel group holds. Plain arithmetic, without vLLM.

vLLM fuses q, k and v, and gate and up, into one linear, and spreads linears over processes by output (column
parallel) or by input (row parallel). Shapes: D input, O output width; an adapter
has a matrix A from D to its ranks and a matrix B from these to O.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Range = tuple[int, int]


@dataclass(frozen=True)
class Part:
    """One of the linears fused into a column-parallel one.

    Attributes:
        total: output width over all processes.
        local: output width here.
        rank: which of the `total / local` pieces is here.
    """

    total: int
    local: int
    rank: int


@dataclass(frozen=True)
class Slot:
    """Where one adapter's tensors lie in the packed ones of its (fused) linear.

    Attributes:
        name: the adapted linear's name in the checkpoint.
        columns: of A and the router (their D side) held here.
        ranks: of the N R expert columns whose products are added here.
        pieces: (from, to, local) of the rows of B: checkpoint rows from .. to go to local output column `local`.
        d_in, d_out: the whole linear's widths, for checking the checkpoint's shapes.
    """

    name: str
    columns: Range
    ranks: Range
    pieces: tuple[tuple[int, int, int], ...]
    d_in: int
    d_out: int

    @property
    def outputs(self) -> Range:
        """The local output columns that the adapter adds to; its pieces lie side by side."""
        start, stop, local = self.pieces[-1]
        return self.pieces[0][2], local + stop - start


def column_slot(name: str, parts: Sequence[Part], inside: Sequence[int] | None, d_in: int, ranks: int) -> Slot:
    """Return the slot of a linear whose outputs are spread: router and A whole, B by output.

    Args:
        name: the adapted linear.
        parts: what is fused into the linear, in order.
        inside: which parts, side by side, carry the adapter; None for all of them (an adapter on a linear fused by
            the model itself, as Phi-3's qkv_proj is).
        d_in: input width.
        ranks: N R.
    """
    pieces, local, before = [], 0, 0
    for number, part in enumerate(parts):
        if inside is None or number in inside:
            first = before + part.rank * part.local
            pieces.append((first, first + part.local, local))
            before += part.total
        local += part.local
    return Slot(name, (0, d_in), (0, ranks), tuple(pieces), d_in, before)


def row_slot(name: str, rank: int, size: int, d_in: int, d_out: int, ranks: int) -> Slot:
    """Return the slot of a linear whose inputs are spread: A and router by input, all outputs.

    Their products are summed over all processes before the softmax. The linear's own sum over all processes then adds
    up the experts' products, so that each process forms those of its share of the N R columns only.
    """
    width = d_in // size
    share = (rank * ranks // size, (rank + 1) * ranks // size)
    return Slot(name, (rank * width, (rank + 1) * width), share, ((0, d_out, 0),), d_in, d_out)
