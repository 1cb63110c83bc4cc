"""Sums over all processes of a run, and what the main one knows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor, distributed

from ..errors import ExtError

T = TypeVar("T")


def rank() -> int:
    """Return the number of this process, 0 for the main one."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world() -> int:
    """Return how many processes the run has."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def sum_of_all(values: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, in its place."""
    if distributed.is_initialized():
        distributed.all_reduce(values)
    return values


def sum_named(values: Mapping[str, float]) -> dict[str, float]:
    """Return the sum of each name over all processes; not all of them need know every name."""
    parts = from_all(dict(values))
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: sum(part.get(name, 0.0) for part in parts) for name in names}


def from_all(value: T) -> list[T]:
    """Return what each process holds, in their order, on every process."""
    if not distributed.is_initialized():
        return [value]
    gathered: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(gathered, value)
    return gathered


def from_main(value: T) -> T:
    """Return what the main process holds, on every process."""
    if not distributed.is_initialized():
        return value
    shared: list[Any] = [value]
    distributed.broadcast_object_list(shared, src=0)
    result: T = shared[0]
    return result


def by_main(work: Callable[[], T]) -> T:
    """Have the main process do the work, such as reading a file that others may lack, and return its result to all.

    Raises:
        ExtError: the work ended so; on every process.
    """
    if rank() != 0:
        failed, result = from_main((None, None))
    else:
        try:
            failed, result = from_main((None, work()))
        except ExtError as error:
            failed, _ = from_main((error, None))
            raise failed from None
    if failed is not None:
        raise failed
    done: Any = result
    return done


def lowest_of_all(number: int, *, decides: bool) -> int:
    """Return the lowest number of the processes that decide, such as those that write to a disk of their own."""
    return min(found for found, counts in from_all((number, decides)) if counts)


def digest(value: object) -> str:
    """Return a short hash of what a value looks like in writing."""
    return hashlib.blake2b(repr(value).encode(), digest_size=8).hexdigest()
