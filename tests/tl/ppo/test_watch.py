"""What PPO's watch notices, and that it says it once and with the step."""

from __future__ import annotations

import json
import math

import pytest

from llamafactory_ext.tl.ppo.watch import Watch

GOOD = {"reward": 0.2, "reward_spread": 1.0, "kl": 0.1, "value": 0.0, "response_tokens": 9.0, "empty": 0.0}


def seen(watch: Watch, step: int, **changes: float) -> list[str]:
    return watch.see(step, GOOD | changes, 64)


@pytest.mark.parametrize("name", ["reward", "kl", "value"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_named_with_the_step(name: str, value: float) -> None:
    (line,) = seen(Watch(10.0), 7, **{name: value})
    assert line.startswith(f"Step 7: {name} is no number")
    assert "lower learning_rate" in line


def test_a_kl_blow_up_is_said_once_until_it_has_passed() -> None:
    watch = Watch(5.0)
    assert seen(watch, 1) == []
    (line,) = seen(watch, 2, kl=6.5)
    assert line.startswith("Step 2: KL blow-up")
    assert "6.5 nats" in line
    assert "tl_kl_coef" in line
    assert seen(watch, 3, kl=7.0) == []
    assert seen(watch, 4) == []
    assert len(seen(watch, 5, kl=8.0)) == 1


def test_a_reward_collapse_is_noticed_and_noise_is_not() -> None:
    watch = Watch(10.0)
    for step, noise in enumerate((0.1, -0.1, 0.05, -0.05, 0.0, 0.1, -0.15, 0.05), 1):
        assert seen(watch, step, reward=0.2 + noise) == []
    said = [line for step in range(9, 14) for line in seen(watch, step, reward=-1.0)]
    assert len(said) == 1
    assert "reward collapse" in said[0]
    assert "the first 5 was 0.200" in said[0]


def test_equal_rewards_leave_nothing_to_learn() -> None:
    (line,) = seen(Watch(10.0), 3, reward=-2.0, reward_spread=0.0)
    assert "all 64 responses have the same reward -2.000" in line


def test_empty_responses_are_counted_until_there_are_none() -> None:
    watch = Watch(10.0)
    (line,) = seen(watch, 2, empty=3 / 64)
    assert line.startswith("Step 2: 3 of 64 responses are empty")
    assert "tl_sft" in line
    assert seen(watch, 3, empty=5 / 64) == []
    assert seen(watch, 4) == []
    assert len(seen(watch, 5, empty=1.0)) == 1


def test_it_goes_on_from_a_checkpoint() -> None:
    whole, part = Watch(5.0), Watch(5.0)
    for step in range(1, 5):
        seen(whole, step, kl=6.0)
        seen(part, step, kl=6.0)
    resumed = Watch(5.0)
    resumed.restore(json.loads(json.dumps(part.state())))
    for step in range(5, 15):
        assert seen(resumed, step, reward=-1.0) == seen(whole, step, reward=-1.0)


def test_a_reward_that_does_not_move_is_told_once() -> None:
    watch = Watch(10.0)
    said = [line for step in range(1, 41) for line in seen(watch, step, reward=0.2 + 0.01 * (step % 3))]
    (line,) = said
    assert line.startswith("Step 20: the reward does not move")
    assert "learning_rate" in line


def test_a_reward_that_moves_is_not_told() -> None:
    watch = Watch(10.0)
    assert [line for step in range(1, 41) for line in seen(watch, step, reward=0.05 * step)] == []


def test_the_count_of_batches_outlives_a_checkpoint() -> None:
    watch, other = Watch(10.0), Watch(10.0)
    for step in range(1, 20):
        assert seen(watch, step) == []
    other.restore(json.loads(json.dumps(watch.state())))
    assert [line.partition(".")[0] for line in seen(other, 20)] == ["Step 20: the reward does not move"]
