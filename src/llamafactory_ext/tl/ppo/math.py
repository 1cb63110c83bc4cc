"""The formulas of PPO for tool calls, as functions of tensors: rewards per token, advantages, losses, KL control.

Sources: PPO (arXiv:1707.06347), GAE (arXiv:1506.02438), the reward R - beta KL of TL-Training (arXiv:2412.15495,
section 3.3), the adaptive coefficient of arXiv:1909.08593, section 2.2.

Shapes: B responses, R token positions of a response. Masks are 1 on tokens of a response and 0 behind its end; every
response holds at least one token. Nothing here averages: losses are sums, what to divide by is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...training.devices import widest

KL_ESTIMATORS = ("k1", "k2", "k3")


def kl_estimate(logp_BR: Tensor, reference_BR: Tensor, kind: str) -> Tensor:
    """Return estimates of KL(policy || reference) per token, from tokens that the policy has drawn.

    With d = log policy - log reference: k1 = d (unbiased, of either sign), k2 = d^2 / 2 (biased, never negative),
    k3 = exp(-d) - 1 + d (unbiased and never negative).
    """
    difference = logp_BR - reference_BR
    if kind == "k1":
        return difference
    if kind == "k2":
        return difference.square() / 2
    assert kind == "k3"
    return torch.expm1(-difference) + difference


def token_rewards(scores_B: Tensor, kl_BR: Tensor, mask_BR: Tensor, coefficient: float) -> Tensor:
    """Return -coefficient * KL on every token, and the response's score on its last one; 0 behind the end (B, R)."""
    rewards_BR = -coefficient * kl_BR * mask_BR
    last_B = mask_BR.long().sum(1) - 1
    return rewards_BR.scatter_add(1, last_B[:, None], scores_B[:, None].to(rewards_BR.dtype))


def advantages_and_returns(
    rewards_BR: Tensor, values_BR: Tensor, mask_BR: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Return generalised advantage estimates, and the returns that the critic learns (advantage + value).

    Args:
        rewards_BR: per token.
        values_BR: the critic's at the state before each token.
        mask_BR: 1 on tokens of a response.
        gamma: discount per token.
        lam: 0 trusts the critic, 1 the rewards.
    """
    mask_BR = mask_BR.to(values_BR.dtype)
    values_BR = values_BR * mask_BR
    following_B = torch.zeros_like(values_BR[:, 0])
    found = []
    for position in reversed(range(values_BR.shape[1])):
        after_B = values_BR[:, position + 1] if position + 1 < values_BR.shape[1] else torch.zeros_like(following_B)
        delta_B = rewards_BR[:, position] + gamma * after_B - values_BR[:, position]
        following_B = (delta_B + gamma * lam * following_B) * mask_BR[:, position]
        found.append(following_B)
    advantages_BR = torch.stack(found[::-1], dim=1)
    return advantages_BR, advantages_BR + values_BR


def whiten(values_BR: Tensor, mask_BR: Tensor, add_up: Callable[[Tensor], Tensor] = lambda sums: sums) -> Tensor:
    """Return the values with mean 0 and variance 1 over all tokens of the mask; 0 outside it.

    Args:
        values_BR: of this process.
        mask_BR: of this process.
        add_up: sums a tensor over all processes.
    """
    wide = widest(values_BR.device)
    mask_BR = mask_BR.to(wide)
    values = values_BR.to(wide) * mask_BR
    count, total = add_up(torch.stack([mask_BR.sum(), values.sum()])).unbind()
    centred_BR = (values - total / count.clamp(min=1)) * mask_BR
    variance = add_up(centred_BR.square().sum()) / count.clamp(min=1)
    return (centred_BR / (variance + 1e-8).sqrt()).to(values_BR.dtype)


def policy_loss(
    logp_BR: Tensor,
    old_BR: Tensor,
    advantages_BR: Tensor,
    mask_BR: Tensor,
    clip: float,
    *,
    high: float | None = None,
    sequence: bool = False,
    weight_BR: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return PPO's clipped surrogate, summed over the tokens; and how many of them are clipped.

    Args:
        logp_BR: now.
        old_BR: when the responses were drawn.
        advantages_BR: per token.
        mask_BR: 1 on tokens of a response.
        clip: how far the ratio may fall below 1, and rise above it unless `high` says otherwise.
        high: how far it may rise above 1 (clip-higher, DAPO, arXiv:2503.14476, section 3.1).
        sequence: take one ratio per response, the geometric mean of its tokens' (GSPO, arXiv:2507.18071, eq. 7).
        weight_BR: of each token in the sum; None is 1 on every token.
    """
    moved_BR = (logp_BR - old_BR) * mask_BR
    if sequence:
        moved_BR = (moved_BR.sum(1, keepdim=True) / mask_BR.sum(1, keepdim=True)).expand_as(moved_BR)
    ratio_BR = torch.exp(moved_BR)
    plain_BR = -advantages_BR * ratio_BR
    clipped_BR = -advantages_BR * ratio_BR.clamp(1 - clip, 1 + (clip if high is None else high))
    loss = (torch.maximum(plain_BR, clipped_BR) * (mask_BR if weight_BR is None else weight_BR)).sum()
    return loss, ((clipped_BR > plain_BR) * mask_BR).sum().detach()


def engine_ratio(logp_BR: Tensor, engine_BR: Tensor, most: float) -> Tensor:
    """Return how much more probable each token is in training than in the engine that drew it, at most `most`.

    Truncated importance sampling (Ionides 2008), as a weight of the policy's loss: two programs, or 16 bits in one of
    them, give other probabilities for the same weights.

    Args:
        logp_BR: under the policy in training, when the responses were drawn.
        engine_BR: as the engine computed them.
        most: the largest weight.
    """
    return torch.exp(logp_BR - engine_BR).clamp(max=most)


def loss_weights(mask_BR: Tensor, mean: str, longest: int) -> Tensor:
    """Return the weight of each token in the policy's summed loss (B, R).

    Args:
        mask_BR: 1 on tokens of a response.
        mean: "token" weighs all alike, to be divided by their number (DAPO, arXiv:2503.14476, section 3.3); "response"
            gives each response the weight 1 (GRPO, arXiv:2402.03300, eq. 3); "constant" gives each token
            1 / longest (Dr. GRPO, arXiv:2503.20783, section 3.2). The last two are divided by the number of responses.
        longest: tokens that a response may have.
    """
    if mean == "token":
        return mask_BR
    if mean == "response":
        return mask_BR / mask_BR.sum(1, keepdim=True)
    assert mean == "constant"
    return mask_BR / longest


def value_loss(
    values_BR: Tensor, old_BR: Tensor, returns_BR: Tensor, mask_BR: Tensor, clip: float | None
) -> tuple[Tensor, Tensor]:
    """Return half the squared error of the critic, summed over the tokens; and how many of them are clipped.

    Args:
        values_BR: now.
        old_BR: when the responses were drawn.
        returns_BR: what is learned.
        mask_BR: 1 on tokens of a response.
        clip: how far a value may move from the old one; None does not limit it.
    """
    error_BR = (values_BR - returns_BR).square()
    if clip is None:
        return (error_BR * mask_BR).sum() / 2, torch.zeros((), device=error_BR.device)
    near_BR = old_BR + (values_BR - old_BR).clamp(-clip, clip)
    near_error_BR = (near_BR - returns_BR).square()
    loss = (torch.maximum(error_BR, near_error_BR) * mask_BR).sum() / 2
    return loss, ((near_error_BR > error_BR) * mask_BR).sum().detach()


def adapted_coefficient(coefficient: float, kl: float, target: float, responses: int, horizon: int) -> float:
    """Return the next KL coefficient: it grows while `kl`, per response, is above `target`, else it falls.

    Args:
        coefficient: now.
        kl: KL per response, in nats, as measured in the last batch.
        target: what it shall be.
        responses: in the last batch, over all processes.
        horizon: responses in which a KL of 1.2 times the target raises the coefficient by about a fifth.
    """
    error = min(max(kl / target - 1, -0.2), 0.2)
    return coefficient * (1 + error * responses / horizon)
