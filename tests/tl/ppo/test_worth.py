"""Advantages of episodes: those of the policy's tokens alone, whatever an environment says between them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from llamafactory_ext.tl.ppo.experience import Experience
from llamafactory_ext.tl.ppo.options import TlPpoArguments
from llamafactory_ext.tl.ppo.settings import PpoSettings, settings_of
from llamafactory_ext.tl.ppo.worth import advantages_of

pytestmark = pytest.mark.fast

KINDS: dict[str, dict[str, Any]] = {
    "gae": {"tl_lambda": 0.9, "tl_gamma": 0.97},
    "gae, plain": {"tl_whiten": False},
    "group": {"tl_advantage": "group", "tl_group_size": 2},
    "rloo": {"tl_advantage": "rloo", "tl_group_size": 2},
}
# Two episodes of two turns and one turn; the observation of the first has three tokens.
GAPS = torch.tensor([[1, 1, 0, 0, 0, 1, 1], [1, 1, 1, 0, 0, 0, 0]]).double()
CLOSE = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]).double()


def settings(**changes: Any) -> PpoSettings:
    return settings_of(SimpleNamespace(**(vars(TlPpoArguments()) | changes)))


def spread(close: Tensor) -> Tensor:
    """Numbers of the policy's tokens, where they stand in the episodes; nonsense elsewhere."""
    found = torch.full_like(GAPS, 99.0)
    found[GAPS.bool()] = close[CLOSE.bool()]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_observations_change_no_advantage(kind: str) -> None:
    torch.manual_seed(1)
    kl, values = torch.randn(2, *CLOSE.shape, dtype=torch.float64).unbind()
    scores, ended = torch.tensor([1.0, -0.5]).double(), torch.ones(2).double()
    chosen = settings(**KINDS[kind])
    args = (ended, 0.1, chosen, lambda sums: sums)
    alone = advantages_of(scores, kl * CLOSE, values * CLOSE, CLOSE, *args)
    # What the policy drew is all that is looked at: its KL is 0 elsewhere, as the trainer has it.
    within = advantages_of(scores, spread(kl) * GAPS, spread(values), GAPS, *args)
    for one, other in zip(alone, within, strict=True):
        assert torch.allclose(spread(one) * GAPS, other, atol=1e-12)
        assert torch.equal(other * (1 - GAPS), torch.zeros_like(other))
    assert alone[0].abs().sum() > 0.1


def test_the_reward_stands_on_the_last_token() -> None:
    plain = replace(settings(tl_whiten=False, tl_gamma=1.0, tl_lambda=1.0))
    zero = torch.zeros_like(GAPS)
    args = (torch.ones(2), 0.0, plain, lambda sums: sums)
    advantages, _ = advantages_of(torch.tensor([2.0, 3.0]).double(), zero, zero, GAPS, *args)
    assert torch.equal(advantages, GAPS * torch.tensor([[2.0], [3.0]]))


def test_a_batch_knows_what_was_seen_and_what_was_drawn() -> None:
    responses, drawn = [[5, 6, 7, 8, 9], [5]], [[True, True, False, False, True], []]
    batch = Experience.of([[1, 2], [3]], responses, 0, drawn)
    assert batch.mask_NR.tolist() == [[1, 1, 0, 0, 1], [1, 0, 0, 0, 0]]
    assert batch.seen_NR.tolist() == [[1, 1, 1, 1, 1], [1, 0, 0, 0, 0]]
    ids, mask, count = batch.inputs()
    assert (ids[0].tolist(), mask[0].tolist(), count) == ([1, 2, 5, 6, 7, 8, 9], [1] * 7, 5)
    assert batch.lengths().tolist() == [7, 2]
    assert batch.rows(torch.tensor([1])).response_NR.tolist() == [[5]]
    assert batch.rows(torch.tensor([0])).mask_NR.tolist() == [[1, 1, 0, 0, 1]]
    earlier = {name: part for name, part in batch.state().items() if name != "seen_NR"}
    assert torch.equal(Experience.restore(earlier).seen_NR, batch.mask_NR)
