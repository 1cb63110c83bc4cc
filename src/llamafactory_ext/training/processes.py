"""Sums over all processes of a run, and what the main one knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import Tensor, distributed

T = TypeVar("T")


def sum_of_all(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes, in its place."""
    if distributed.is_initialized():
        distributed.all_reduce(values)
    return values


def sum_named(values: Mapping[str, float]) -> dict[str, float]:
    """The sum of each name over all processes; not all of them need know every name."""
    if not distributed.is_initialized():
        return dict(values)
    gathered: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(gathered, dict(values))
    names = dict.fromkeys(name for part in gathered for name in part)
    return {name: sum(part.get(name, 0.0) for part in gathered) for name in names}


def from_main(value: T) -> T:
    """Return what the main process holds, on every process."""
    if not distributed.is_initialized():
        return value
    shared: list[Any] = [value]
    distributed.broadcast_object_list(shared, src=0)
    result: T = shared[0]
    return result
