"""Advantages of groups: the closed form, and what must not change them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_ext.errors import OptionError
from llamafactory_ext.tl.advantages import equal_groups, group_advantages, leave_one_out_advantages

pytestmark = pytest.mark.fast

GROUPS = st.integers(2, 6).flatmap(
    lambda size: st.tuples(
        st.just(size),
        st.lists(st.lists(st.integers(-20, 20), min_size=size, max_size=size), min_size=1, max_size=5),
    )
)


def flat(groups: list[list[int]]) -> torch.Tensor:
    return torch.tensor(groups, dtype=torch.float64).flatten() / 4


def test_by_hand() -> None:
    rewards = torch.tensor([1.0, 3.0, 5.0, 5.0], dtype=torch.float64)
    assert group_advantages(rewards, 2, scale=False).tolist() == [-1.0, 1.0, 0.0, 0.0]
    assert torch.allclose(group_advantages(rewards, 2), torch.tensor([-1, 1, 0, 0], dtype=torch.float64) / 2**0.5)
    assert leave_one_out_advantages(rewards, 2).tolist() == [-2.0, 2.0, 0.0, 0.0]
    assert equal_groups(rewards, 2) == 0.5


@given(GROUPS)
def test_the_closed_form(drawn: tuple[int, list[list[int]]]) -> None:
    size, groups = drawn
    rewards = flat(groups)
    plain, scaled, others = (
        group_advantages(rewards, size, scale=False),
        group_advantages(rewards, size),
        leave_one_out_advantages(rewards, size),
    )
    for start in range(0, len(rewards), size):
        group = rewards[start : start + size]
        mean, spread = group.mean(), group.std()
        for place in range(size):
            at = start + place
            assert abs(plain[at] - (rewards[at] - mean)) < 1e-12
            rest = (group.sum() - group[place]) / (size - 1)
            assert abs(others[at] - (rewards[at] - rest)) < 1e-12
            expected = (rewards[at] - mean) / spread if spread > 1e-9 else 0.0
            assert abs(scaled[at] - expected) < 1e-9


@given(GROUPS, st.integers(-5, 5), st.integers(1, 5))
def test_a_shift_changes_nothing_and_a_factor_nothing_where_it_is_scaled(
    drawn: tuple[int, list[list[int]]], shift: int, factor: int
) -> None:
    size, groups = drawn
    rewards = flat(groups)
    assert torch.allclose(group_advantages(rewards * factor + shift, size), group_advantages(rewards, size), atol=1e-9)
    assert torch.allclose(
        group_advantages(rewards * factor + shift, size, scale=False),
        factor * group_advantages(rewards, size, scale=False),
        atol=1e-9,
    )


@given(st.integers(2, 9), st.floats(-1e6, 1e6, width=32), st.booleans())
def test_equal_rewards_give_zeros(size: int, reward: float, scale: bool) -> None:
    rewards = torch.full((2 * size,), reward)
    assert torch.equal(group_advantages(rewards, size, scale), torch.zeros(2 * size))
    assert torch.equal(leave_one_out_advantages(rewards, size), torch.zeros(2 * size))
    assert equal_groups(rewards, size) == 1


def test_whole_numbers_and_16_bits_are_taken() -> None:
    assert group_advantages(torch.tensor([0, 1, 1, 1]), 4).dtype == torch.float32
    half = group_advantages(torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.bfloat16), 2)
    assert half.dtype == torch.bfloat16


@pytest.mark.parametrize(("shape", "size"), [((4,), 3), ((4,), 1), ((4,), 0), ((2, 2), 2), ((0,), 2), ((), 2)])
def test_what_does_not_fit_is_named(shape: tuple[int, ...], size: int) -> None:
    for function in (group_advantages, leave_one_out_advantages, equal_groups):
        with pytest.raises(OptionError, match=r"group"):
            function(torch.zeros(shape), size)
