"""In which order PPO goes through queries, and through the responses of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader


def micro_batches(order_N: Tensor, lengths_N: Tensor, minibatches: int, parts: int) -> list[list[Tensor]]:
    """Return the indices of the responses per update and per micro-batch of it.

    An update's responses go into its micro-batches by length, so that little of them is padding; as losses are sums,
    which micro-batch a response is in does not matter.

    Args:
        order_N: the order of one pass.
        lengths_N: tokens of prompt and response.
        minibatches: updates of the pass.
        parts: micro-batches of an update; N is a multiple of both together.
    """
    found = []
    for update_M in order_N.chunk(minibatches):
        by_length = update_M[lengths_N[update_M].argsort(stable=True)]
        found.append(list(by_length.chunk(parts)))
    return found


def batches_of_epoch(count: int, rows: int, process: int, processes: int, seed: int | None) -> list[list[int]]:
    """Return the indices of the queries of each batch of this process, in a new order per `seed`.

    Args:
        count: queries.
        rows: of one batch on one process; what does not fill a batch on all processes is left out.
        process: this one.
        processes: how many there are.
        seed: of this epoch, the same on all processes; None keeps the order of the data.
    """
    if seed is None:
        order = list(range(count))
    else:
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    whole = rows * processes
    return [
        order[start + process * rows : start + (process + 1) * rows] for start in range(0, count - whole + 1, whole)
    ]


class _Epochs:
    """A batch sampler whose order depends on the epoch; every batch is repeated for the steps that learn from it."""

    def __init__(self, batches: Callable[[int], list[list[int]]], repeats: int) -> None:
        self._batches, self._repeats, self.epoch = batches, repeats, 0

    def __len__(self) -> int:
        return len(self._batches(0)) * self._repeats

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self._batches(self.epoch):
            for _ in range(self._repeats):
                yield batch


class QueryLoader(DataLoader):
    """Places of queries, a batch of responses at a time.

    Args:
        count: queries.
        batches: the batches of an epoch.
        repeats: how often each batch is handed out, one after the other.
    """

    def __init__(self, count: int, batches: Callable[[int], list[list[int]]], repeats: int) -> None:
        places = range(count)
        super().__init__(places, batch_sampler=_Epochs(batches, repeats), collate_fn=list)  # type: ignore[arg-type]

    def set_epoch(self, epoch: int) -> None:
        """Take the order of this epoch next; transformers calls it."""
        self.batch_sampler.epoch = epoch  # type: ignore[union-attr]
