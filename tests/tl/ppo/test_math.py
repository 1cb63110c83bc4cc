"""PPO's formulas against numbers worked out by hand, and the identities that they keep."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from llamafactory_ext.tl.ppo.math import (
    KL_ESTIMATORS,
    adapted_coefficient,
    advantages_and_returns,
    kl_estimate,
    policy_loss,
    token_rewards,
    value_loss,
    whiten,
)

pytestmark = pytest.mark.fast


def table(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


MASK = table([1, 1, 1], [1, 0, 0])


def test_kl_estimates_by_hand() -> None:
    logp, reference = table([-1.0, -2.0]), table([-1.5, -1.0])
    assert torch.equal(kl_estimate(logp, reference, "k1"), table([0.5, -1.0]))
    assert torch.equal(kl_estimate(logp, reference, "k2"), table([0.125, 0.5]))
    expected = table([math.exp(-0.5) - 1 + 0.5, math.exp(1.0) - 1 - 1.0])
    assert torch.allclose(kl_estimate(logp, reference, "k3"), expected, atol=1e-15)


def test_kl_estimates_agree_with_the_kl_where_they_should() -> None:
    policy = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    reference = torch.tensor([0.4, 0.4, 0.2], dtype=torch.float64)
    exact = (policy * (policy / reference).log()).sum()
    means = {kind: (policy * kl_estimate(policy.log(), reference.log(), kind)).sum() for kind in KL_ESTIMATORS}
    assert torch.allclose(means["k1"], exact, atol=1e-15)
    assert torch.allclose(means["k3"], exact, atol=1e-15)
    assert abs(means["k2"] - exact) < 0.1 * exact
    assert means["k2"] != exact


def test_the_score_is_on_the_last_token_and_the_kl_on_all() -> None:
    kl = table([0.1, 0.2, 0.3], [0.4, 9.0, 9.0])
    rewards = token_rewards(torch.tensor([1.0, -2.0], dtype=torch.float64), kl, MASK, 0.5)
    assert torch.allclose(rewards, table([-0.05, -0.1, 1 - 0.15], [-2.2, 0, 0]), atol=1e-15)


def test_advantages_by_hand() -> None:
    rewards, values = table([0.0, 0.0, 1.0], [-2.0, 7.0, 7.0]), table([0.5, 0.4, 0.2], [0.3, 9.0, 9.0])
    advantages, returns = advantages_and_returns(rewards * MASK, values, MASK, gamma=0.9, lam=0.8)
    third = 1.0 - 0.2
    second = 0.9 * 0.2 - 0.4 + 0.9 * 0.8 * third
    first = 0.9 * 0.4 - 0.5 + 0.9 * 0.8 * second
    assert torch.allclose(advantages, table([first, second, third], [-2.3, 0, 0]), atol=1e-15)
    assert torch.allclose(returns, table([first + 0.5, second + 0.4, 1.0], [-2.0, 0, 0]), atol=1e-15)


@given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 10**6))
def test_lambda_one_gives_the_discounted_rewards_and_lambda_zero_one_step(rows: int, length: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.randn(rows, length, generator=generator, dtype=torch.float64)
    values = torch.randn(rows, length, generator=generator, dtype=torch.float64)
    mask = torch.ones(rows, length, dtype=torch.float64)
    _, returns = advantages_and_returns(rewards, values, mask, gamma=0.9, lam=1.0)
    for t in range(length):
        expected = sum(0.9 ** (k - t) * rewards[:, k] for k in range(t, length))
        assert torch.allclose(returns[:, t], torch.as_tensor(expected), atol=1e-12)
    short, _ = advantages_and_returns(rewards, values, mask, gamma=0.9, lam=0.0)
    following = torch.cat([values[:, 1:], torch.zeros(rows, 1, dtype=torch.float64)], dim=1)
    assert torch.allclose(short, rewards + 0.9 * following - values, atol=1e-12)


def test_a_perfect_critic_leaves_no_advantage() -> None:
    values = table([1.0, 1.0, 1.0], [-0.5, 0, 0])
    rewards = token_rewards(torch.tensor([1.0, -0.5], dtype=torch.float64), torch.zeros(2, 3), MASK, 0.1)
    advantages, _ = advantages_and_returns(rewards, values, MASK, gamma=1.0, lam=0.95)
    assert torch.equal(advantages, torch.zeros(2, 3, dtype=torch.float64))


@given(st.integers(1, 5), st.integers(2, 7), st.integers(0, 10**6))
def test_whitened_advantages_have_mean_zero_and_variance_one(rows: int, length: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = 5 + 3 * torch.randn(rows, length, generator=generator, dtype=torch.float64)
    ends = torch.randint(2, length + 1, (rows,), generator=generator)
    mask = (torch.arange(length) < ends[:, None]).double()
    white = whiten(values, mask)
    kept = white[mask.bool()]
    assert abs(kept.mean()) < 1e-12
    spread = values[mask.bool()].var(correction=0)
    assert torch.allclose(kept.square().mean(), spread / (spread + 1e-8))
    assert not white[~mask.bool()].any()


def test_whitening_spans_all_processes() -> None:
    values = torch.randn(4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mask = torch.ones(4, 3, dtype=torch.float64)
    whole = whiten(values, mask)
    count_and_total = torch.stack([mask.sum(), values.sum()])
    squares = (values - values.mean()).square().sum()
    answers = iter([count_and_total, squares])
    assert torch.allclose(whiten(values[:2], mask[:2], lambda _: next(answers)), whole[:2], atol=1e-12)


def test_policy_loss_by_hand() -> None:
    ratio = table([1.5, 0.5, 1.1], [0.5, 1.0, 1.0])
    advantages = table([2.0, -1.0, -3.0], [4.0, 9.0, 9.0])
    loss, clipped = policy_loss(ratio.log(), torch.zeros(2, 3), advantages, MASK, clip=0.2)
    # 1.5 is held at 1.2 for a gain; 0.5 at 0.8 for a loss; 1.1 is within; 0.5 of a gain is not held back.
    assert loss.item() == pytest.approx(-2 * 1.2 + 0.8 + 3 * 1.1 - 4 * 0.5)
    assert clipped.item() == 2


def test_the_first_update_follows_the_advantage_alone() -> None:
    logp = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    advantages = table([1.0, -2.0, 3.0], [4.0, 5.0, 6.0])
    loss, _ = policy_loss(logp, logp.detach(), advantages, MASK, clip=0.2)
    loss.backward()
    assert logp.grad is not None
    assert torch.allclose(logp.grad, -advantages * MASK)


def test_value_loss_by_hand() -> None:
    values, old, returns = table([1.0, 0.0]), table([0.0, 0.0]), table([2.0, 1.0])
    mask = table([1, 1])
    assert value_loss(values, old, returns, mask, None)[0].item() == pytest.approx((1 + 1) / 2)
    loss, clipped = value_loss(values, old, returns, mask, 0.2)
    assert loss.item() == pytest.approx((1.8**2 + 1) / 2)
    assert clipped.item() == 1


def test_the_coefficient_follows_the_kl() -> None:
    assert adapted_coefficient(0.1, 12.0, 6.0, 100, 1000) == pytest.approx(0.1 * 1.02)
    assert adapted_coefficient(0.1, 6.6, 6.0, 100, 1000) == pytest.approx(0.1 * 1.01)
    assert adapted_coefficient(0.1, 0.0, 6.0, 100, 1000) == pytest.approx(0.1 * 0.98)
    assert adapted_coefficient(0.1, 6.0, 6.0, 100, 1000) == 0.1
