"""Keys and values of a rollout that grow in place, instead of being copied as a whole for every token."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

ROOM = 64  # positions by which the memory of keys and values grows


def growing_cache(config: Any) -> DynamicCache:
    """Return a dynamic cache whose full attention layers have room.

    Sliding windows and other kinds stay as they are.
    """
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def keep_rows(cache: Any, indices: Tensor) -> None:
    """Keep only these rows of a batch, in states of linear attention too, which transformers can only reorder."""
    for layer in cache.layers:
        if hasattr(layer, "batch_select_indices"):
            layer.batch_select_indices(indices)
        else:
            layer.reorder_cache(indices)


class RoomyLayer(DynamicLayer):
    """Keys and values (B, heads, T, width) as the front part of larger tensors."""

    keys: Tensor
    values: Tensor

    def __init__(self) -> None:
        super().__init__()
        self._stored: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append the keys and values of new positions; return all that there are now."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        before = self.get_seq_length()
        after = before + key_states.shape[-2]
        if self._stored is None or self._stored[0].shape[-2] < after:
            self._stored = (self._larger(self.keys, key_states, after), self._larger(self.values, value_states, after))
        for whole, new in zip(self._stored, (key_states, value_states), strict=True):
            whole[..., before:after, :] = new
        self.keys, self.values = (whole[..., :after, :] for whole in self._stored)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep only these rows; room is made again for the next position."""
        super().batch_select_indices(indices)
        self._stored = None

    @staticmethod
    def _larger(held: Tensor, new: Tensor, positions: int) -> Tensor:
        whole = new.new_empty((*new.shape[:-2], positions + ROOM, new.shape[-1]))
        if held.numel():
            whole[..., : held.shape[-2], :] = held
        return whole
