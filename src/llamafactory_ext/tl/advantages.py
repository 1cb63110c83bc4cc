"""Advantages of whole responses from several responses to one prompt, without a critic. Tensors in, tensors out.

Sources: GRPO (arXiv:2402.03300, section 4.1); Dr. GRPO, which does not divide (arXiv:2503.20783); RLOO
(arXiv:2402.14740).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import OptionError


def group_advantages(rewards: Tensor, group_size: int, scale: bool = True) -> Tensor:
    """Return each reward minus the mean of its group, divided by the group's standard deviation on request.

    Args:
        rewards: of the responses (n,), those to one prompt in a row.
        group_size: responses per prompt, at least 2; n is a multiple of it.
        scale: divide by the standard deviation, with n - 1 in its denominator as torch and TRL have it.

    Returns:
        The advantages (n,), in the rewards' type if that is a floating one. Equal rewards give zeros, exactly.

    Raises:
        OptionError: the rewards do not fall into such groups.
    """
    groups_GS = _groups(rewards, group_size)
    centred_GS = groups_GS - groups_GS.mean(1, keepdim=True)
    differ_G1 = (groups_GS != groups_GS[:, :1]).any(1, keepdim=True)
    if scale:
        spread_G1 = groups_GS.std(1, keepdim=True)
        centred_GS = centred_GS / torch.where(differ_G1 & (spread_G1 > 0), spread_G1, torch.ones_like(spread_G1))
    # A mean of equal numbers may be off by a rounding.
    return torch.where(differ_G1, centred_GS, torch.zeros_like(centred_GS)).flatten()


def leave_one_out_advantages(rewards: Tensor, group_size: int) -> Tensor:
    """Return each reward minus the mean of the other rewards of its group (RLOO).

    Args:
        rewards: of the responses (n,), those to one prompt in a row.
        group_size: responses per prompt, at least 2; n is a multiple of it.

    Raises:
        OptionError: the rewards do not fall into such groups.
    """
    return group_advantages(rewards, group_size, scale=False) * (group_size / (group_size - 1))


def equal_groups(rewards: Tensor, group_size: int) -> Tensor:
    """Return the share of groups whose rewards are all equal, which teach nothing (a number between 0 and 1).

    Raises:
        OptionError: the rewards do not fall into such groups.
    """
    groups_GS = _groups(rewards, group_size)
    return (groups_GS == groups_GS[:, :1]).all(1).double().mean()


def _groups(rewards: Tensor, group_size: int) -> Tensor:
    if group_size < 2:
        raise OptionError(f"A group holds at least 2 responses to one prompt, not {group_size}; raise the group size.")
    if rewards.ndim != 1 or len(rewards) == 0 or len(rewards) % group_size:
        raise OptionError(
            f"Rewards of the shape {tuple(rewards.shape)} do not fall into groups of {group_size}; give (n,), "
            "with n a multiple of the group size."
        )
    return (rewards if rewards.is_floating_point() else rewards.float()).view(-1, group_size)
