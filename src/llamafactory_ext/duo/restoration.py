"""Stochastic restoration: now and then some weights return to what they were when the task began.

After CoTTA's idea, as DATA's released code has it (arXiv:2502.11482; off in all its published commands). That code
draws after every micro-batch, from each process's own generator. Here it happens once per optimizer step, after it,
and every process draws the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def is_due(step: int, max_steps: int, ratio: float) -> bool:
    """Tell whether weights are restored after a step: at the end of each window but the last.

    Args:
        step: optimizer steps done, counted from 1.
        max_steps: of the task.
        ratio: length of a window as a share of `max_steps`; 0 switches restoration off.
    """
    window = int(ratio * max_steps)
    return window > 0 and step % window == 0 and max_steps - (step - 1) >= window


@torch.no_grad()
def restore(
    weights: Mapping[str, Tensor], start: Mapping[str, Tensor], probability: float, seed: tuple[int, int, int]
) -> int:
    """Return each element with a probability to its value at the task's start; return how many were.

    Args:
        weights: the pairs' A and B by name; changed in place.
        start: the same at the task's start.
        probability: of each element.
        seed: of the run, number of the task, step. The same seed restores the same elements.
    """
    generator = torch.Generator().manual_seed(hash(seed) % 2**63)
    restored = 0
    for name in sorted(weights):
        weight = weights[name]
        mask = torch.rand(weight.shape, generator=generator) < probability
        restored += int(mask.sum())
        mask = mask.to(weight.device)
        weight.copy_(torch.where(mask, start[name].to(weight.device, weight.dtype), weight))
    return restored
