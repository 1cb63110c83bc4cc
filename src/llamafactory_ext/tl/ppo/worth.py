"""What the tokens of a batch of responses are worth to the policy: by a critic, or by groups. Tensors in, tensors out.

Shapes: N responses of this process, those to one query in a row; R token positions of a response.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..advantages import group_advantages, leave_one_out_advantages
from .math import advantages_and_returns, token_rewards, whiten
from .settings import PpoSettings


def advantages_of(
    scores_N: Tensor,
    kl_NR: Tensor,
    values_NR: Tensor,
    mask_NR: Tensor,
    ended_N: Tensor,
    coefficient: float,
    settings: PpoSettings,
    add_up: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """Return the advantages of all tokens and the returns that a critic learns; zeros without one (both N, R).

    Args:
        scores_N: rewards of the responses.
        kl_NR: KL per token; 0 where no reference is measured.
        values_NR: the critic's; unused without one.
        mask_NR: 1 on tokens that the policy drew; an environment's may stand between them.
        ended_N: 1 where a response ended by itself, 0 where a limit cut it.
        coefficient: of the KL.
        settings: PPO's numbers.
        add_up: sums a tensor over all processes.
    """
    coefficient = coefficient if settings.kl_in == "reward" else 0.0
    if settings.has_critic:
        advantages_NR, returns_NR = _by_critic(scores_N, kl_NR, values_NR, mask_NR, coefficient, settings)
        if settings.whiten:
            advantages_NR = whiten(advantages_NR, mask_NR, add_up)
    else:
        worth_N = scores_N - coefficient * kl_NR.sum(1)
        if settings.advantage == "rloo":
            advantages_N = leave_one_out_advantages(worth_N, settings.group)
        else:
            advantages_N = group_advantages(worth_N, settings.group, settings.scale)
        advantages_NR, returns_NR = advantages_N[:, None] * mask_NR, mask_NR * 0.0
    return (advantages_NR * ended_N[:, None] if settings.mask_cut else advantages_NR), returns_NR


def _by_critic(
    scores_N: Tensor, kl_NR: Tensor, values_NR: Tensor, mask_NR: Tensor, coefficient: float, settings: PpoSettings
) -> tuple[Tensor, Tensor]:
    """Return advantages, and what the critic learns, over the policy's tokens alone."""
    own_NR = mask_NR.argsort(dim=1, descending=True, stable=True)
    is_gapless = bool((mask_NR.diff(dim=1) <= 0).all())
    kl_NR, values_NR, close_NR = (
        part if is_gapless else part.gather(1, own_NR) for part in (kl_NR, values_NR, mask_NR)
    )
    rewards_NR = token_rewards(scores_N, kl_NR, close_NR, coefficient)
    both = advantages_and_returns(rewards_NR, values_NR, close_NR, settings.gamma, settings.lam)
    if is_gapless:
        return both
    advantages_NR, returns_NR = (torch.zeros_like(part).scatter(1, own_NR, part) for part in both)
    return advantages_NR * mask_NR, returns_NR * mask_NR
