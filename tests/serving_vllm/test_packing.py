"""Adapters packed for the processes of a tensor-parallel group add up to the whole, however they are spread."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from vllm.model_executor.layers.linear import MergedColumnParallelLinear, QKVParallelLinear

from llamafactory_ext.citi.vllm import layer
from llamafactory_ext.citi.vllm.layer import PackedMoLora, Size
from llamafactory_ext.errors import CheckpointError
from llamafactory_ext.molora.kernel import Adapter, apply_molora
from llamafactory_ext.serving.vllm_plugin import linears
from llamafactory_ext.serving.vllm_plugin.geometry import Part, column_slot, row_slot

SIZE = Size(experts=3, gates=4, rank=2, scaling=2.5)
TOKENS, HIDDEN, HEADS, KV_HEADS, HEAD = 5, 16, 8, 2, 4
WIDTHS = (HEADS * HEAD, KV_HEADS * HEAD, KV_HEADS * HEAD)


def tensors(d_in: int, d_out: int) -> dict[str, torch.Tensor]:
    return {
        "A": torch.randn(SIZE.experts, SIZE.rank, d_in),
        "B": torch.randn(SIZE.experts, d_out, SIZE.rank),
        "router": torch.randn(SIZE.gates, d_in),
    }


def added(adapter: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """What the training code's function adds."""
    B_ON = adapter["B"].permute(1, 0, 2).flatten(1)
    whole = Adapter(adapter["router"], adapter["A"].flatten(0, 1), B_ON, SIZE.rank, SIZE.scaling)
    return apply_molora(torch.zeros(len(x), len(B_ON)), x, whole)


def loaded(packed: PackedMoLora, adapters: list[dict[str, torch.Tensor]]) -> PackedMoLora:
    for number, adapter in enumerate(adapters):
        for kind, tensor in adapter.items():
            packed.load(number, kind, tensor)
    for product in (packed.down, *packed.ups):
        product.quant_method.process_weights_after_loading(product)
    return packed


def parts_of(rank: int, size: int) -> list[Part]:
    """As a QKVParallelLinear of vLLM describes itself in process `rank` of `size`."""
    fields = {
        "tp_rank": rank, "head_size": HEAD, "v_head_size": HEAD,
        "total_num_heads": HEADS, "num_heads": HEADS // size,
        "total_num_kv_heads": KV_HEADS, "num_kv_heads": max(1, KV_HEADS // size),
        "num_kv_head_replicas": max(1, size // KV_HEADS),
    }  # fmt: skip
    return linears.parts_of(described(QKVParallelLinear, fields))


def described(kind: type, fields: dict[str, Any]) -> Any:
    """A linear of vLLM that only says what it is: a whole one needs a running group of processes."""
    linear = object.__new__(kind)
    linear.__dict__ |= fields
    return linear


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("adapted", [(0,), (1,), (2,), (0, 2), (2, 0, 1), (None,)])
def test_outputs_spread_over_processes(size: int, adapted: tuple[int | None, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(TOKENS, HIDDEN)
    adapters = [tensors(HIDDEN, sum(WIDTHS) if index is None else WIDTHS[index]) for index in adapted]
    expected = [torch.zeros(TOKENS, width) for width in WIDTHS]
    for index, adapter in zip(adapted, adapters, strict=True):
        pieces = added(adapter, x).split(WIDTHS, 1) if index is None else [added(adapter, x)]
        for number, piece in zip(range(3) if index is None else [index], pieces, strict=True):
            expected[number] += piece
    for rank in range(size):
        parts = parts_of(rank, size)
        inside = [None if index is None else [index] for index in adapted]
        slots = [column_slot("layer", parts, one, HIDDEN, SIZE.ranks) for one in inside]
        d_out = sum(part.local for part in parts)
        packed = loaded(PackedMoLora(slots, SIZE, HIDDEN, d_out, spread_inputs=False), adapters)
        y = torch.randn(TOKENS, d_out)
        here = [
            whole[:, part.rank * part.local :][:, : part.local] for whole, part in zip(expected, parts, strict=True)
        ]
        torch.testing.assert_close(packed(y, x) - y, torch.cat(here, 1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_inputs_spread_over_processes(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x, adapter = torch.randn(TOKENS, HIDDEN), tensors(HIDDEN, 12)
    group = []
    for rank in range(size):
        slot = row_slot("layer", rank, size, HIDDEN, 12, SIZE.ranks)
        width = HIDDEN // size
        group.append(loaded(PackedMoLora([slot], SIZE, width, 12, spread_inputs=size > 1), [adapter]))
    share = list(x.chunk(size, 1))
    whole = sum(one.down(part) for one, part in zip(group, share, strict=True))
    monkeypatch.setattr(layer, "tensor_model_parallel_all_reduce", lambda _: whole)
    found = sum(one(torch.zeros(TOKENS, 12), part) for one, part in zip(group, share, strict=True))
    torch.testing.assert_close(found, added(adapter, x), atol=1e-4, rtol=1e-4)


def test_gate_and_up_are_spread_by_their_own_widths() -> None:
    linear = described(MergedColumnParallelLinear, {"tp_rank": 1, "tp_size": 2, "output_sizes": [8, 12]})
    assert linears.parts_of(linear) == [Part(8, 4, 1), Part(12, 6, 1)]
    assert column_slot("up", linears.parts_of(linear), [1], 16, 6).pieces == ((6, 12, 4),)
    assert column_slot("both", linears.parts_of(linear), None, 16, 6).pieces == ((4, 8, 0), (14, 20, 4))


def test_a_tensor_of_another_shape_or_kind_is_named() -> None:
    packed = PackedMoLora([row_slot("x.down_proj", 0, 1, 8, 4, SIZE.ranks)], SIZE, 8, 4, spread_inputs=False)
    with pytest.raises(CheckpointError, match=r"x\.down_proj\.molora\.B has the shape \(4, 3, 2\).*\(3, 4, 2\)"):
        packed.load(0, "B", torch.zeros(4, 3, 2))
    with pytest.raises(CheckpointError, match="no such tensor"):
        packed.load(0, "C", torch.zeros(1))
