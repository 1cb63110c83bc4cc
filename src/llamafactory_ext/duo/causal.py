"""Sums of per-token numbers over what each token may attend to, with or without a cache of keys and values.

For the gate `prefix`. Padding, packing and sliding windows are read from the attention mask that the decoder layer
gets, so a gate sees the tokens that attention sees and no others.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import OptionError

_KEPT = "_data_adapter_sums"


def running_sums(logits: Tensor, reach: dict[str, Any], key: tuple[str, int]) -> Tensor:
    """Return for each token the sum over itself and all earlier tokens that it may attend to: (2, B, L).

    Args:
        logits: one number per token: (2, B, L).
        reach: the decoder layer's keyword arguments: `attention_mask`, `position_ids`, `past_key_values`.
        key: the adapter and the number of its decoder layer, under which a cache keeps the earlier tokens' numbers.
    """
    length, cache = logits.shape[-1], reach.get("past_key_values")
    if cache is not None:
        logits = _with_earlier(logits, cache, key)
    visible = _visible(reach, length, logits)
    if visible is None:
        return logits.cumsum(-1)[..., -length:]
    return torch.einsum("bqk,gbk->gbq", visible.to(logits.dtype), logits)


def _visible(reach: dict[str, Any], length: int, logits: Tensor) -> Tensor | None:
    """Return which of K tokens each of the last Q attends to, (B, Q, K); None for all earlier ones and itself."""
    mask, total = reach.get("attention_mask"), logits.shape[-1]
    order = torch.arange(total, device=logits.device)
    causal = order <= order[-length:, None]
    if isinstance(mask, Tensor) and mask.dim() == 4:
        seen = mask[:, 0, :, :total]
        return (seen if seen.dtype == torch.bool else seen == 0) & causal
    segments = None
    positions = reach.get("position_ids")
    if isinstance(mask, Tensor) and mask.dim() == 2:
        segments = mask[:, :total]
    elif isinstance(positions, Tensor) and positions.dim() == 2 and total == length:
        segments = (positions.diff(dim=-1, prepend=positions[:, :1] - 1) != 1).cumsum(-1) + 1
    if segments is None or bool((segments == 1).all()):
        return None
    same = segments[:, -length:, None] == segments[:, None, :]
    return same & (segments != 0)[:, None, :] & causal


def _with_earlier(logits: Tensor, cache: Any, key: tuple[str, int]) -> Tensor:
    """Return the numbers of all tokens whose keys the cache will hold, and keep them with it."""
    kept: dict[tuple[str, int], Tensor] | None = getattr(cache, _KEPT, None)
    if kept is None:
        kept = {}
        setattr(cache, _KEPT, kept)
        _follow(cache, kept)
    earlier = kept.get(key, logits[..., :0])
    past = int(cache.get_seq_length(key[1]))  # of this layer, as those before it hold the new tokens already
    if earlier.shape[-1] < past or (past and earlier.shape[1] != logits.shape[1]):
        raise OptionError(
            "The cache of keys and values was filled without this adapter's gate `prefix`, or for other sequences; "
            "begin with an empty one."
        )
    whole = torch.cat([earlier[..., :past], logits], dim=-1)
    kept[key] = whole.detach()
    return whole


def _follow(cache: Any, kept: dict[tuple[str, int], Tensor]) -> None:
    """Let the numbers follow when beams are reordered."""
    original = cache.reorder_cache

    def reorder_cache(beam_idx: Tensor) -> Any:
        for key, tensor in kept.items():
            kept[key] = tensor.index_select(1, beam_idx.to(tensor.device))
        return original(beam_idx)

    cache.reorder_cache = reorder_cache
