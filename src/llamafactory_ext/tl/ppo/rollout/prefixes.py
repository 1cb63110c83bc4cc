"""Prompts that begin alike, as those of a group's episodes do, read once up to where they part.

What it does: finds prompts with a long common beginning, and fills a cache with it. What it does not do: read the rest
of the prompts, or draw.

Shapes: B prompts, F families of prompts, P positions of the longest beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .cache import RoomyLayer, keep_rows

_WORTH = 0.5  # share of all tokens that must be saved
_ATTENTIONS = ("sdpa", "eager")  # others take padding at the front alone


def families_of(prompts: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
    """Return the family of each prompt, and how many tokens those of each family have in common.

    At least one token of each prompt is left, from which its first token is drawn.
    """
    rows = [tuple(prompt) for prompt in prompts]
    family_of, lengths = [0] * len(rows), list[int]()
    first: tuple[int, ...] = ()
    for row in sorted(range(len(rows)), key=rows.__getitem__):
        prompt = rows[row]
        shared = min(_common(first, prompt), len(prompt) - 1)
        if not lengths or shared * 2 < len(prompt):
            first, shared = prompt, len(prompt) - 1
            lengths.append(shared)
        family_of[row] = len(lengths) - 1
        lengths[-1] = min(lengths[-1], shared)
    return family_of, lengths


def read_beginnings(
    model: Any, prompts: Sequence[Sequence[int]], cache: Any, device: torch.device
) -> tuple[Tensor, list[Sequence[int]]]:
    """Read what prompts have in common into the cache, if that is most of them.

    Returns:
        The mask of the cache's positions (B, P), P = 0 where nothing was read; and what is left of each prompt.
    """
    family_of, lengths = families_of(prompts)
    longest = max(lengths)
    saved = sum(lengths[family] for family in family_of) - sum(lengths)
    plain = all(type(layer) is RoomyLayer for layer in cache.layers)
    attention = getattr(model.config, "_attn_implementation", None)
    if saved < _WORTH * sum(map(len, prompts)) or not plain or attention not in _ATTENTIONS:
        return torch.ones((len(prompts), 0), dtype=torch.long, device=device), list(prompts)
    beginnings = [prompts[family_of.index(family)][:length] for family, length in enumerate(lengths)]
    ids_FP = torch.tensor([[0] * (longest - len(ids)) + list(ids) for ids in beginnings], device=device)
    mask_FP = torch.tensor([[0] * (longest - length) + [1] * length for length in lengths], device=device)
    model(
        input_ids=ids_FP,
        attention_mask=mask_FP,
        position_ids=(mask_FP.cumsum(1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    family_B = torch.tensor(family_of, device=device)
    keep_rows(cache, family_B)
    return mask_FP[family_B], [prompt[lengths[family_of[row]] :] for row, prompt in enumerate(prompts)]


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Return how many tokens two prompts begin with together."""
    parts = (place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1])
    return next(parts, min(len(one), len(other)))
