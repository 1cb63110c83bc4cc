"""`tl_advantage: group` and `rloo`: several responses to a prompt in the place of a critic."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from llamafactory_ext.errors import OptionError
from llamafactory_ext.tl.ppo.critic import ActorCritic
from llamafactory_ext.tl.ppo.math import engine_ratio, loss_weights, policy_loss
from llamafactory_ext.tl.ppo.trainer import PpoTrainer
from ppo_runs import accumulated, ppo_options, steps, train, write_ppo_data

GROUP = {"tl_advantage": "group", "tl_group_size": 4, "tl_kl_coef": 0.0}
RLOO = {"tl_advantage": "rloo", "tl_group_size": 2}
GRPO = GROUP | {"tl_loss_mean": "response", "tl_kl_in": "loss", "tl_kl_estimator": "k3", "tl_kl_coef": 0.05}
GSPO = GROUP | {"tl_ratio": "sequence", "tl_loss_mean": "response", "tl_clip_high": 0.3}
DR_GRPO = GROUP | {"tl_group_scale": False, "tl_loss_mean": "constant"}
KINDS = {"group": GROUP, "rloo": RLOO, "grpo": GRPO, "gspo": GSPO, "dr_grpo": DR_GRPO}
TWICE = {"tl_ppo_epochs": 2, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ppo_data(tmp_path_factory.mktemp("ppo_data"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_without_a_critic(
    kind: str, tiny_llama_dir: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The groups lie in a row, nothing values states, and a reference is looked at only where its KL counts."""
    looks, asked = [], []
    forward, answer = ActorCritic.forward, PpoTrainer.answer

    def looked(self: ActorCritic, *args: Any, **kwargs: Any) -> Any:
        looks.append(kwargs.get("values", True))
        return forward(self, *args, **kwargs)

    def answered(self: PpoTrainer, queries: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append([query.place for query in queries])
        return answer(self, queries, *args, **kwargs)

    monkeypatch.setattr(ActorCritic, "forward", looked)
    monkeypatch.setattr(PpoTrainer, "answer", answered)
    run = train(ppo_options(tiny_llama_dir, data, tmp_path / "out", max_steps=4, **KINDS[kind], **TWICE))
    logged = steps(run)
    size = KINDS[kind]["tl_group_size"]
    assert all(len(set(batch[at : at + size])) == 1 for batch in asked for at in range(0, len(batch), size))
    assert all(len(set(batch)) == len(batch) // size for batch in asked)
    assert not any(looks)
    names = set().union(*logged)
    assert {"reward", "equal_groups", "policy_loss"} <= names
    assert not {"value", "value_loss", "value_clipped"} & names
    has_kl = KINDS[kind].get("tl_kl_coef") != 0.0  # RLOO has the default, in the reward
    assert ("kl" in names) == has_kl
    assert ("kl_loss" in names) == (kind == "grpo")
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_llama_dir, run))
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert not [name for name in after if "value_head" in name]


@pytest.mark.parametrize("changes", [GROUP, RLOO, GROUP | {"tl_group_scale": False}], ids=["group", "rloo", "plain"])
def test_equal_rewards_give_no_gradient(
    changes: dict[str, Any], tiny_llama_dir: Path, data: Path, tmp_path: Path
) -> None:
    options = ppo_options(
        *(tiny_llama_dir, data, tmp_path / "out"),
        **(changes | {"tl_kl_coef": 0.0}),
        tl_reward_function="ppo_rewards:same",
        optim="sgd",
    )
    run = train(options)
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_llama_dir, run))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(entry["equal_groups"] == 1 and entry["grad_norm"] == 0 for entry in steps(run))


def test_responses_that_are_cut_move_nothing(tiny_llama_dir: Path, data: Path, tmp_path: Path) -> None:
    """A random model ends no response within 2 tokens, so that nothing is left to learn."""
    found = {}
    for masked in (False, True):
        options = ppo_options(
            *(tiny_llama_dir, data, tmp_path / str(masked)),
            **GROUP,
            tl_max_new_tokens=2,
            tl_mask_cut=masked,
            tl_reward_function="ppo_rewards:vowels",
        )
        found[masked] = steps(train(options))
    assert all(entry["cut"] == 1 for entry in found[True])
    assert all(entry["grad_norm"] == 0 for entry in found[True])
    assert any(entry["grad_norm"] > 0 for entry in found[False])


@pytest.mark.parametrize("kind", ["grpo", "gspo"])
def test_resuming_is_exact(kind: str, tiny_llama_dir: Path, data: Path, tmp_path: Path) -> None:
    saved = {"save_strategy": "steps", "save_steps": 1, "max_steps": 4}
    options = ppo_options(tiny_llama_dir, data, tmp_path / "whole", **KINDS[kind], **TWICE, **saved)
    whole = train(options)
    for step in (1, 2):
        part = tmp_path / f"part-{step}"
        shutil.copytree(whole / f"checkpoint-{step}", part / f"checkpoint-{step}")
        train(options | {"output_dir": str(part)})
        ours, theirs = (load_file(folder / "model.safetensors") for folder in (part, whole))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_accumulation_does_not_change_an_update(kind: str, tiny_llama_dir: Path, data: Path, tmp_path: Path) -> None:
    found = accumulated(tiny_llama_dir, data, tmp_path, **KINDS[kind])
    assert all(torch.allclose(found[0][name], found[1][name], atol=1e-6) for name in found[0])


def test_the_reward_rises(tiny_llama_dir: Path, tmp_path: Path) -> None:
    options = ppo_options(
        *(tiny_llama_dir, write_ppo_data(tmp_path / "data", 32), tmp_path / "out"),
        **GROUP,
        per_device_train_batch_size=32,
        max_steps=14,
        learning_rate=5e-3,
        tl_max_new_tokens=8,
    )
    rewards = [entry["reward"] for entry in steps(train(options))]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.3, rewards


@pytest.mark.fast
@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"tl_advantage": "group"}, "tl_group_size of at least 2"),
        ({"tl_advantage": "rloo", "tl_group_size": 1}, "tl_group_size of at least 2"),
        (GROUP | {"tl_temperature": 0}, "compares equal responses"),
        (GROUP | {"tl_critic": "own", "tl_lambda": 1.0}, "tl_critic has no effect with tl_advantage: group"),
        (RLOO | {"tl_group_scale": False}, "tl_group_scale has no effect"),
        ({"tl_group_scale": False}, "tl_group_scale has no effect with tl_advantage: gae"),
        (GROUP | {"tl_kl_in": "loss"}, "tl_kl_estimator: k3"),
        (GROUP | {"tl_kl_coef": 0.05}, "set tl_kl_in: loss"),
        ({"tl_kl_coef": 0.0, "tl_kl_target": 1.0}, "set tl_kl_coef above 0"),
        (GROUP | {"tl_group_size": 3}, "does not divide the 4 responses"),
        ({"tl_advantage": "grpo"}, "tl_advantage"),
        ({"tl_group_size": 0}, "tl_group_size=0"),
        (GROUP | {"per_device_train_batch_size": 128}, "A batch of responses takes 32 queries"),
    ],
)
def test_wrong_options_say_what_to_change(
    tiny_llama_dir: Path, data: Path, tmp_path: Path, changes: dict[str, Any], part: str
) -> None:
    with pytest.raises(OptionError) as error:
        train(ppo_options(tiny_llama_dir, data, tmp_path, **changes))
    assert part in error.value.message


# Formulas


@pytest.mark.fast
def test_means_of_the_loss_by_hand() -> None:
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    assert torch.equal(loss_weights(mask, "token", 4), mask)
    assert torch.equal(loss_weights(mask, "response", 4).sum(1), torch.ones(2))
    assert torch.equal(loss_weights(mask, "constant", 4), mask / 4)


@pytest.mark.fast
def test_a_ratio_of_the_whole_response_is_the_geometric_mean() -> None:
    old, mask = torch.zeros(1, 3, dtype=torch.float64), torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64)
    now = torch.tensor([[2.0, 8.0, 5.0]], dtype=torch.float64).log()
    loss, clipped = policy_loss(now, old, torch.ones_like(old), mask, 9.0, sequence=True)
    assert loss == pytest.approx(-2 * 4.0)
    assert clipped == 0
    equal = torch.full((1, 3), 0.3, dtype=torch.float64)
    for sequence in (False, True):
        assert policy_loss(equal, old, torch.ones_like(old), mask, 9.0, sequence=sequence)[0] == pytest.approx(
            -2 * 1.349858807576003
        )


@pytest.mark.fast
def test_engine_weights_by_hand() -> None:
    policy, engine = torch.tensor([[0.5, 0.5, 0.1]]).log(), torch.tensor([[0.5, 0.1, 0.5]]).log()
    assert torch.allclose(engine_ratio(policy, engine, 2.0), torch.tensor([[1.0, 2.0, 0.2]]))


@pytest.mark.fast
def test_the_upper_clip_holds_above_and_the_lower_below() -> None:
    one, mask = torch.ones(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    for ratio, advantage, expected in ((1.5, 1.0, -1.28), (0.5, -1.0, 0.8), (1.25, 1.0, -1.25), (0.9, -1.0, 0.9)):
        now = torch.full((1, 1), ratio, dtype=torch.float64).log()
        loss, _ = policy_loss(now, one * 0, one * advantage, mask, 0.2, high=0.28)
        assert loss == pytest.approx(expected), ratio


@pytest.mark.fast
def test_at_the_first_pass_group_and_sequence_ratios_have_one_gradient() -> None:
    """With a ratio of 1 everywhere, both move the policy alike, token by token."""
    torch.manual_seed(0)
    logp = torch.randn(3, 4, dtype=torch.float64)
    advantages = torch.randn(3, 1, dtype=torch.float64).expand(3, 4)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]], dtype=torch.float64)
    found = []
    for sequence in (False, True):
        now = logp.clone().requires_grad_()
        policy_loss(now, logp, advantages, mask, 0.2, sequence=sequence, weight_BR=mask)[0].backward()
        found.append(now.grad)
    assert torch.allclose(*found, atol=1e-12)
