"""Where the linears of a checkpoint lie in vLLM's own, fused and spread ones."""

from __future__ import annotations

from typing import Any

from vllm.model_executor.layers.linear import (
    MergedColumnParallelLinear,
    QKVParallelLinear,
    RowParallelLinear,
)
from vllm.model_executor.models.utils import PPMissingLayer

from ...errors import CheckpointError
from .geometry import Part, Slot, column_slot, row_slot

# Linears of a checkpoint that vLLM splits further than their names do: the parts of its linear that each fills.
SPANS = {"in_proj_qkv": (0, 1, 2), "in_proj_z": (3,)}


def holder_of(model: Any, name: str) -> str | None:
    """Return the vLLM linear that holds linear `name` of the checkpoint; None if another pipeline stage has it.

    Raises:
        CheckpointError: it is no linear of a layer.
    """
    parent_name, _, child = name.rpartition(".")
    fused: dict[str, list[str]] = model.packed_modules_mapping
    child = next((holder for holder, parts in fused.items() if child in parts), child)
    module: Any = model
    for step in [*filter(None, parent_name.split(".")), child]:
        module = getattr(module, step, None)
        if isinstance(module, PPMissingLayer):
            return None
    if not isinstance(module, (QKVParallelLinear, MergedColumnParallelLinear, RowParallelLinear)):
        raise CheckpointError(
            f"config.json adapts or tunes {name}, which is no linear of a layer in vLLM's {type(model).__name__}; "
            "run this model with transformers."
        )
    return f"{parent_name}.{child}"


def slot_of(model: Any, linear: Any, holder: str, name: str, ranks: int) -> Slot:
    """Return where the tensors of one adapter lie in this process.

    Args:
        model: vLLM's, which says what is fused.
        linear: vLLM's, that holds the adapted one.
        holder: its name.
        name: of the adapted linear in the checkpoint.
        ranks: columns of the adapter's B.
    """
    if isinstance(linear, RowParallelLinear):
        return row_slot(name, linear.tp_rank, linear.tp_size, linear.input_size, linear.output_size, ranks)
    fused = model.packed_modules_mapping.get(holder.rpartition(".")[2], ())
    child = name.rpartition(".")[2]
    inside = SPANS.get(child, (fused.index(child),)) if len(fused) > 1 else None
    return column_slot(name, parts_of(linear), inside, linear.input_size, ranks)


def widths_of(linear: Any) -> tuple[int, int, bool]:
    """Return the input and output width that this process holds, and whether inputs are spread over processes."""
    row = isinstance(linear, RowParallelLinear)
    width = linear.input_size_per_partition if row else linear.input_size
    return width, sum(linear.output_partition_sizes), row and linear.tp_size > 1


def parts_of(linear: Any) -> list[Part]:
    """Return what is fused into a column-parallel linear, and the share of each that is here."""
    if isinstance(linear, QKVParallelLinear):
        q = Part(linear.total_num_heads * linear.head_size, linear.num_heads * linear.head_size, linear.tp_rank)
        rank = linear.tp_rank // linear.num_kv_head_replicas
        k, v = (
            Part(linear.total_num_kv_heads * width, linear.num_kv_heads * width, rank)
            for width in (linear.head_size, linear.v_head_size)
        )
        return [q, k, v]
    return [Part(width, width // linear.tp_size, linear.tp_rank) for width in linear.output_sizes]
