"""Responses drawn from a causal language model in batches: the part of PPO that takes the longest.

What it does: prompts of similar length share a batch, padded on the left; keys and values are cached, and what prompts
begin with together is read once (`prefixes.py`). A row leaves the batch once its response has ended, so that the last
long response does not drag the others along. Log-probabilities are kept, and what else the passes that draw tokens
have computed anyway. What it does not do: score responses, or know about training. Another source of responses is a
server (`server.py`).

Shapes: B rows of a batch, T positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import StaticCache

from .cache import growing_cache, keep_rows
from .prefixes import read_beginnings

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
        logp: log-probability of each token at the sampling's temperature (1 if greedy), before `top_p` and `top_k`;
            empty if it was not told.
        values: what the critic said before each token; empty if it was not asked.
        engine_logp: log-probability of each token as another engine computed it, at temperature 1; empty if none did.
        drawn: whether the policy drew each token; empty if it drew all. The others are an environment's.
    """

    ids: tuple[int, ...]
    ended: bool
    logp: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    engine_logp: tuple[float, ...] = ()
    drawn: tuple[bool, ...] = ()

    def first(self, count: int) -> Response:
        """Return its first tokens, as if the limit had been there."""
        logp, values, engine_logp = (part[:count] for part in (self.logp, self.values, self.engine_logp))
        return Response(self.ids[:count], False, logp, values, engine_logp, self.drawn[:count])

    @property
    def own_tokens(self) -> int:
        """Tokens that the policy drew."""
        return sum(self.drawn) if self.drawn else len(self.ids)


def buckets(lengths: Sequence[int], rows: int) -> Iterator[list[int]]:
    """Return indices of `lengths` in groups of at most `rows`, of similar length each, the longest first."""
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    for start in range(0, len(order), rows):
        yield order[start : start + rows]


def pad_left(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Return token ids (B, T) that end in the last column, and their mask."""
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
    values: Callable[[], Tensor] | None = None,
) -> list[Response]:
    """Return one response per prompt, in the order of the prompts.

    Args:
        model: a causal language model of transformers, or one with adapters, in evaluation mode.
        prompts: token ids, none empty.
        sampling: how to draw; torch's generator is used.
        decode: text of token ids, for stop texts.
        device: where the model takes its inputs.
        all_closed: given whether all rows of this process are closed, says whether those of all processes are. Needed
            where every process must call the model equally often (weights spread over processes); each process must
            then have equally many prompts.
        values: the critic's, of the rows of the model's last pass (B).
    """
    found: dict[int, Response] = {}
    for places in buckets([len(prompt) for prompt in prompts], sampling.rows):
        drawn = _draw_batch(model, [prompts[place] for place in places], sampling, decode, device, all_closed, values)
        found |= dict(zip(places, drawn, strict=True))
    return [found[place] for place in range(len(prompts))]


def _draw_batch(
    model: nn.Module,
    prompts: list[Sequence[int]],
    sampling: Sampling,
    decode: Callable[[Sequence[int]], str],
    device: torch.device,
    all_closed: Callable[[bool], bool] | None,
    values: Callable[[], Tensor] | None,
) -> list[Response]:
    count, most = len(prompts), sampling.max_tokens
    cache = _new_cache(model, sampling, max(map(len, prompts)))
    read_BP, unread = torch.ones((count, 0), dtype=torch.long, device=device), list(prompts)
    if all_closed is None:
        read_BP, unread = read_beginnings(model, prompts, cache, device)
    ids_BT, mask_BT = (part.to(device) for part in pad_left(unread, sampling.pad_id))
    mask_BT = torch.cat([read_BP, mask_BT], dim=1)
    positions_BT, width = (mask_BT.cumsum(1) - 1).clamp(min=0)[:, -ids_BT.shape[1] :], mask_BT.shape[1]
    mask_BT = torch.cat([mask_BT, mask_BT.new_ones((count, most))], dim=1)
    drawn: list[list[int]] = [[] for _ in prompts]
    ended = [False] * count
    rows_B = torch.arange(count, device=device)  # of `drawn`, in the batch as it is now
    rows = rows_B.tolist()
    logp_NR, values_NR = torch.zeros((2, count, most), device=device)
    for step in range(most):
        logits_BV = model(
            input_ids=ids_BT,
            attention_mask=mask_BT[:, : width + step],
            position_ids=positions_BT,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        token_B, logp_NR[rows_B, step] = choose(logits_BV, sampling)
        if values:
            values_NR[rows_B, step] = values()
        for row, token in zip(rows, token_B.tolist(), strict=True):
            if not ended[row]:
                drawn[row].append(token)
                ended[row] = token in sampling.end_ids or _stops(drawn[row], sampling.stop, decode)
        left = [place for place, row in enumerate(rows) if not ended[row]]
        if step + 1 == most or (all_closed(not left) if all_closed else not left):
            break
        positions_BT, ids_BT = positions_BT[:, -1:] + 1, token_B[:, None]
        if sampling.cache == "dynamic" and all_closed is None and len(left) < COMPACT_BELOW * len(rows):
            kept = torch.tensor(left, device=device)
            keep_rows(cache, kept)
            ids_BT, mask_BT, positions_BT, rows_B = (part[kept] for part in (ids_BT, mask_BT, positions_BT, rows_B))
            rows = rows_B.tolist()
    noted = (logp_NR.tolist(), values_NR.tolist() if values else [[]] * count)
    return [
        Response(tuple(ids), end, *(tuple(numbers[: len(ids)]) for numbers in both))
        for ids, end, *both in zip(drawn, ended, *noted, strict=True)
    ]


def choose(logits_BV: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Return the next token of each row, and its log-probability in float32 (B each)."""
    all_BV = (logits_BV.float() / (sampling.temperature or 1.0)).softmax(-1)
    token_B = logits_BV.argmax(-1) if sampling.temperature == 0 else draw(_most_probable(all_BV, sampling))
    return token_B, all_BV.gather(1, token_B[:, None]).squeeze(1).log()


def draw(weights_BV: Tensor) -> Tensor:
    """Return a place of each row with a probability in proportion to its weight (B)."""
    if weights_BV.device.type != "cpu":
        return torch.multinomial(weights_BV, 1).squeeze(1)
    # One random number a row instead of one a weight, of which a CPU makes few.
    sums_BV = weights_BV.cumsum(-1, dtype=torch.float64)
    at_B1 = torch.rand((len(sums_BV), 1), dtype=torch.float64) * sums_BV[:, -1:]
    return torch.searchsorted(sums_BV, at_B1, right=True).squeeze(1).clamp(max=weights_BV.shape[1] - 1)


def _most_probable(weights_BV: Tensor, sampling: Sampling) -> Tensor:
    """Return the probabilities with zeros where `top_k` and `top_p` do not let a token be drawn."""
    if 0 < sampling.top_k < weights_BV.shape[-1]:
        least_B1 = weights_BV.topk(sampling.top_k, dim=-1).values[:, -1:]
        weights_BV = weights_BV.masked_fill(weights_BV < least_B1, 0)
        weights_BV = weights_BV / weights_BV.sum(-1, keepdim=True)
    if sampling.top_p < 1:
        ranked_BV, order_BV = weights_BV.sort(dim=-1, descending=True)
        before_BV = ranked_BV.cumsum(-1) - ranked_BV  # of the more probable tokens: the first is always kept
        ranked_BV = ranked_BV.masked_fill(before_BV >= sampling.top_p, 0)
        weights_BV = torch.zeros_like(ranked_BV).scatter(1, order_BV, ranked_BV)
    return weights_BV


def _stops(ids: list[int], stop: tuple[str, ...], decode: Callable[[Sequence[int]], str]) -> bool:
    """Tell whether a stop text has just been completed; only so many tokens are decoded as it may span."""
    if not stop:
        return False
    tail = decode(ids[-max(map(len, stop)) - 4 :])
    return any(text in tail for text in stop)


def _new_cache(model: nn.Module, sampling: Sampling, prompt: int) -> Any:
    config: Any = model.config
    if sampling.cache == "static":
        return StaticCache(config=config, max_cache_len=prompt + sampling.max_tokens)
    return growing_cache(config)
