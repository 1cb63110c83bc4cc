"""Responses drawn from a causal language model in batches: the part of PPO that takes the longest.

What it does: prompts of similar length share a batch, padded on the left; keys and values are cached; a row leaves the
batch once its response has ended, so that the last long response does not drag the others along. An observer may note
what the passes that draw tokens have computed anyway. What it does not do: score responses, or know about training.
Another source of responses is a server (`rollout_server.py`).

Shapes: B rows of a batch, T positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, StaticCache

Observer = Callable[
    [Tensor, Tensor], Tensor
]  # logits (B, V) and the tokens drawn from them (B): K numbers each (B, K)
COMPACT_BELOW = 0.75  # share of rows still open under which the closed ones are taken out of the batch


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How responses are drawn.

    Attributes:
        max_tokens: the longest response.
        end_ids: tokens that end a response; they stay part of it.
        pad_id: fills a batch on the left.
        temperature: 0 takes the most probable token (greedy).
        top_p: draws among the most probable tokens that together have this probability.
        top_k: draws among so many most probable tokens; 0 among all.
        stop: texts that end a response; they stay part of it.
        rows: prompts in one batch.
        cache: "dynamic" grows with the responses, "static" has its whole size from the start.
    """

    max_tokens: int
    end_ids: frozenset[int]
    pad_id: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()
    rows: int = 64
    cache: str = "dynamic"


@dataclass(frozen=True)
class Response:
    """One response.

    Attributes:
        ids: its tokens, at least one.
        ended: whether it ended by itself, not at the length limit.
        notes: what an observer noted of each token; empty without one.
    """

    ids: tuple[int, ...]
    ended: bool
    notes: tuple[tuple[float, ...], ...] = ()


def buckets(lengths: Sequence[int], rows: int) -> Iterator[list[int]]:
    """Places in `lengths` in groups of at most `rows`, of similar length each, the longest first."""
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    for start in range(0, len(order), rows):
        yield order[start : start + rows]


def pad_left(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Token ids (B, T) that end in the last column, and their mask."""
    longest = max(map(len, rows))
    ids_BT = torch.full((len(rows), longest), pad_id, dtype=torch.long)
    mask_BT = torch.zeros((len(rows), longest), dtype=torch.long)
    for place, row in enumerate(rows):
        ids_BT[place, longest - len(row) :] = torch.tensor(row, dtype=torch.long)
        mask_BT[place, longest - len(row) :] = 1
    return ids_BT, mask_BT


@torch.no_grad()
def draw_responses(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    decode: Callable[[Sequence[int]], str],
    *,
    device: torch.device,
    all_closed: Callable[[bool], bool] | None = None,
    observer: Observer | None = None,
) -> list[Response]:
    """One response per prompt, in the order of the prompts.

    Args:
        model: a causal language model of transformers, or one with adapters, in evaluation mode.
        prompts: token ids, none empty.
        sampling: how to draw; torch's generator is used.
        decode: text of token ids, for stop texts.
        device: where the model takes its inputs.
        all_closed: given whether all rows of this process are closed, says whether those of all processes are. Needed
            where every process must call the model equally often (weights spread over processes); each process must
            then have equally many prompts.
        observer: notes numbers of each token that is drawn.
    """
    found: dict[int, Response] = {}
    for places in buckets([len(prompt) for prompt in prompts], sampling.rows):
        drawn = _draw_batch(
            model, [prompts[place] for place in places], sampling, decode, device, all_closed, observer
        )
        found |= dict(zip(places, drawn, strict=True))
    return [found[place] for place in range(len(prompts))]


def _draw_batch(
    model: nn.Module,
    prompts: list[Sequence[int]],
    sampling: Sampling,
    decode: Callable[[Sequence[int]], str],
    device: torch.device,
    all_closed: Callable[[bool], bool] | None,
    observer: Observer | None,
) -> list[Response]:
    ids_BT, mask_BT = (part.to(device) for part in pad_left(prompts, sampling.pad_id))
    positions_BT = (mask_BT.cumsum(1) - 1).clamp(min=0)
    cache = _new_cache(model, sampling, mask_BT.shape[1])
    drawn: list[list[int]] = [[] for _ in prompts]
    notes: list[list[tuple[float, ...]]] = [[] for _ in prompts]
    ended = [False] * len(prompts)
    ends = torch.tensor(sorted(sampling.end_ids), device=device)
    rows = list(range(len(prompts)))  # of `drawn`, in the batch as it is now
    open_B = torch.ones(len(prompts), dtype=torch.bool, device=device)
    for step in range(sampling.max_tokens):
        logits_BV = model(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            position_ids=positions_BT,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        token_B = choose(logits_BV, sampling)
        noted = observer(logits_BV, token_B).tolist() if observer else None
        closed_B = torch.isin(token_B, ends)
        tokens, alive, closing = token_B.tolist(), open_B.tolist(), closed_B.tolist()
        for place, row in enumerate(rows):
            if alive[place]:
                drawn[row].append(tokens[place])
                if noted:
                    notes[row].append(tuple(noted[place]))
                ended[row] = closing[place] or _stops(drawn[row], sampling.stop, decode)
                closed_B[place] = ended[row]
        open_B = open_B & ~closed_B
        left = int(open_B.sum())
        if step + 1 == sampling.max_tokens or (all_closed(left == 0) if all_closed else left == 0):
            break
        mask_BT = torch.cat([mask_BT, torch.ones_like(mask_BT[:, :1])], dim=1)
        positions_BT, ids_BT = positions_BT[:, -1:] + 1, token_B[:, None]
        if sampling.cache == "dynamic" and all_closed is None and left < COMPACT_BELOW * len(rows):
            kept = open_B.nonzero().flatten()
            cache.batch_select_indices(kept)
            ids_BT, mask_BT, positions_BT, open_B = (part[kept] for part in (ids_BT, mask_BT, positions_BT, open_B))
            rows = [rows[place] for place in kept.tolist()]
    return [Response(tuple(ids), end, tuple(seen)) for ids, end, seen in zip(drawn, ended, notes, strict=True)]


def choose(logits_BV: Tensor, sampling: Sampling) -> Tensor:
    """The next token of each row (B)."""
    if sampling.temperature == 0:
        return logits_BV.argmax(-1)
    logits_BV = logits_BV.float() / sampling.temperature
    if 0 < sampling.top_k < logits_BV.shape[-1]:
        least_B1 = logits_BV.topk(sampling.top_k, dim=-1).values[:, -1:]
        logits_BV = logits_BV.masked_fill(logits_BV < least_B1, float("-inf"))
    probabilities_BV = logits_BV.softmax(-1)
    if sampling.top_p < 1:
        ranked_BV, order_BV = probabilities_BV.sort(dim=-1, descending=True)
        before_BV = ranked_BV.cumsum(-1) - ranked_BV  # of the more probable tokens: the first is always kept
        ranked_BV = ranked_BV.masked_fill(before_BV >= sampling.top_p, 0)
        probabilities_BV = torch.zeros_like(ranked_BV).scatter(1, order_BV, ranked_BV)
    return torch.multinomial(probabilities_BV, 1).squeeze(1)


def _stops(ids: list[int], stop: tuple[str, ...], decode: Callable[[Sequence[int]], str]) -> bool:
    """Whether a stop text has just been completed; only so many tokens are decoded as it may span."""
    if not stop:
        return False
    tail = decode(ids[-max(map(len, stop)) - 4 :])
    return any(text in tail for text in stop)


def _new_cache(model: nn.Module, sampling: Sampling, prompt: int) -> Any:
    config: Any = model.config
    if sampling.cache == "static":
        return StaticCache(config=config, max_cache_len=prompt + sampling.max_tokens)
    return DynamicCache(config=config)
