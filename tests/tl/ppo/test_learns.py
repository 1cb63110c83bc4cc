"""PPO raises the reward: a random model learns to write what a rule pays for."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppo_runs import ppo_options, steps, train, write_ppo_data


@pytest.mark.parametrize("critic", ["shared", "own"])
def test_the_reward_rises(tiny_llama_dir: Path, tmp_path: Path, critic: str) -> None:
    data = write_ppo_data(tmp_path / "data", 32)
    options = ppo_options(
        tiny_llama_dir,
        data,
        tmp_path / "out",
        per_device_train_batch_size=32,
        max_steps=14,
        learning_rate=5e-3,
        tl_max_new_tokens=8,
        tl_kl_coef=0.0,
        tl_critic=critic,
    )
    rewards = [entry["reward"] for entry in steps(train(options))]
    # One batch's mean is uncertain by about 0.08.
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.3, rewards
