"""Keys and values that grow in place are those that transformers' dynamic cache holds."""

from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache, LlamaConfig, MistralConfig
from transformers.cache_utils import DynamicSlidingWindowLayer

from llamafactory_ext.tl.ppo.rollout.cache import ROOM, RoomyLayer, growing_cache

pytestmark = pytest.mark.fast


def test_it_holds_what_the_dynamic_cache_holds_also_after_rows_have_left() -> None:
    config = LlamaConfig(num_hidden_layers=2)
    ours, theirs = growing_cache(config), DynamicCache(config=config)
    generator = torch.Generator().manual_seed(0)
    rows, moved = 5, set()
    for step in range(2 * ROOM + 3):
        positions = 7 if step == 0 else 1
        for layer in range(2):
            new = [torch.rand((rows, 2, positions, 4), generator=generator) for _ in range(2)]
            found, expected = (cache.update(*new, layer) for cache in (ours, theirs))
            assert all(torch.equal(left, right) for left, right in zip(found, expected, strict=True))
            moved.add(found[0].data_ptr())
        if step in (3, ROOM + 9):
            kept = torch.arange(rows)[torch.arange(rows) != 1]
            rows -= 1
            for cache in (ours, theirs):
                cache.batch_select_indices(kept)
        assert ours.get_seq_length() == theirs.get_seq_length() == 7 + step
    assert rows == 3
    assert len(moved) <= 2 * 5  # at the start, after each selection, and as the room ends


def test_other_kinds_of_layers_stay_as_they_are() -> None:
    assert all(type(layer) is RoomyLayer for layer in growing_cache(LlamaConfig(num_hidden_layers=2)).layers)
    sliding = growing_cache(MistralConfig(num_hidden_layers=2, sliding_window=8))
    assert all(type(layer) is DynamicSlidingWindowLayer for layer in sliding.layers)
