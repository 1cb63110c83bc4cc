"""`stage: tl_ppo` from a YAML's options to a saved model, for every kind of policy, critic and reference."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.tl.ppo.critic import ActorCritic
from ppo_runs import ppo_options, ppo_records, steps, train, warnings, write_ppo_data


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bad = ppo_records(6)
    bad[0]["output"] = "API-Request: [GetWeather(city="
    bad[1]["instruction"] = "No tools here."
    bad[2]["output"] = "API-Request: [Unknown(a='b')]"
    return write_ppo_data(tmp_path_factory.mktemp("ppo_data"), bad=bad)


LORA = {"finetuning_type": "lora", "lora_rank": 4, "lora_target": "all"}


@pytest.mark.parametrize(
    "changes",
    [
        {"eval_dataset": "held", "do_eval": True, "logging_steps": 2},
        LORA | {"tl_critic": "own", "tl_ppo_epochs": 2, "tl_minibatches": 2, "gradient_accumulation_steps": 2},
        LORA | {"disable_gradient_checkpointing": False, "tl_kl_target": 1.0, "tl_kl_estimator": "k3"},
        {"finetuning_type": "freeze", "freeze_trainable_layers": 1, "tl_temperature": 0, "tl_cache": "static"},
    ],
    ids=["full", "lora with its own critic", "lora with checkpointing", "freeze, greedy"],
)
def test_policies_train(tiny_llama_dir: Path, data: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    run = train(ppo_options(tiny_llama_dir, data, tmp_path / "out", max_steps=4, **changes))
    logged = steps(run)
    assert logged
    assert all(math.isfinite(value) for entry in logged for value in entry.values())
    assert {"reward", "kl", "part_correct", "part_vowels", "value_loss", "kl_coef", "rollout_seconds"} <= logged[
        0
    ].keys()
    weights = load_file(run / ("adapter_model.safetensors" if "lora_rank" in changes else "model.safetensors"))
    assert not [name for name in weights if "value_head" in name or "critic" in name]
    if "lora_rank" in changes:
        assert all(weight.any() for name, weight in weights.items() if "lora_B" in name)
    else:
        before = load_file(tiny_llama_dir / "model.safetensors")
        moved = {name for name in before if not torch.equal(before[name], weights[name])}
        assert any(".layers.1." in name for name in moved)
        assert any(".layers.0." in name for name in moved) == (changes.get("finetuning_type") != "freeze")


def test_the_first_update_starts_at_the_reference(tiny_llama_dir: Path, data: Path, tmp_path: Path) -> None:
    first, *_, last = steps(train(ppo_options(tiny_llama_dir, data, tmp_path, max_steps=4)))
    assert first["kl"] == pytest.approx(0, abs=1e-5)
    assert first["policy_loss"] == pytest.approx(0, abs=1e-5)  # whitened advantages have mean zero
    assert first["kl_update"] == pytest.approx(0, abs=1e-6)
    assert abs(last["kl"]) > 1e-3


@pytest.mark.parametrize(
    ("changes", "looks"),
    [
        ({}, ["logp"]),
        ({"tl_critic": "own"}, ["values", "logp"]),
        ({"bf16": True}, ["both", "logp"]),
    ],
    ids=["shared critic", "own critic", "16 bits"],
)
def test_in_float32_the_rollout_spares_a_look_at_the_policy(
    tiny_llama_dir: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    looks: list[str],
) -> None:
    """The looks at a batch before its update, the last of them at the reference, and then the update's own."""
    seen: list[str] = []
    forward = ActorCritic.forward

    def counted(self: ActorCritic, *args: Any, logp: bool = True, values: bool = True) -> Any:
        seen.append("both" if logp and values else "logp" if logp else "values")
        return forward(self, *args, logp=logp, values=values)

    monkeypatch.setattr(ActorCritic, "forward", counted)
    run = train(ppo_options(tiny_llama_dir, data, tmp_path, max_steps=2, gradient_accumulation_steps=2, **changes))
    assert seen == [*looks, "both", "both"] * 2
    assert steps(run)[0]["kl_update"] == pytest.approx(0, abs=1e-2 if "bf16" in changes else 1e-6)


def test_accumulation_does_not_change_an_update(tiny_llama_dir: Path, data: Path, tmp_path: Path) -> None:
    found = []
    for size, parts in ((8, 1), (2, 4)):
        options = ppo_options(
            tiny_llama_dir,
            data,
            tmp_path / str(parts),
            per_device_train_batch_size=size,
            gradient_accumulation_steps=parts,
            max_steps=1,
            optim="sgd",
            tl_critic="own",
        )
        found.append(load_file(train(options) / "model.safetensors"))
    assert all(torch.allclose(found[0][name], found[1][name], atol=1e-6) for name in found[0])


def test_bad_data_is_an_error_with_counts_and_is_left_out_if_asked(
    tiny_llama_dir: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ppo_options(
        tiny_llama_dir, data, tmp_path, dataset="bad", tl_reward_function=None, per_device_train_batch_size=3
    )
    with pytest.raises(DataError) as error:
        train(options)
    for part in ("no tool is declared", "1 of 6 (bad.json, index 1, turn 2)", "cannot be read as a call", "'Unknown'"):
        assert part in error.value.message
    said = warnings(monkeypatch)
    train(options | {"tl_skip_bad": True, "max_steps": 1})
    assert sum(line.startswith("Left out of the training data") for line in said) == 3


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"per_device_train_batch_size": 32}, "lower per_device_train_batch_size"),
        ({"tl_reward_function": "nowhere:reward"}, "write module:function"),
        ({"tl_reward_function": "ppo_rewards:words"}, "return a number"),
        ({"tl_reference": "base"}, "tl_reference: start"),
        ({"tl_rollout": "vllm"}, "tl_rollout_url"),
        ({"tl_rollout": "vllm", "tl_rollout_url": "http://127.0.0.1:9/v1"}, "finetuning_type: lora"),
        ({"tl_clip": 2}, "tl_clip=2"),
        ({"fsdp": "full_shard"}, "fsdp_config: {version: 2}"),
        ({"tl_stop": 3}, "tl_stop=3"),
        ({"finetuning_type": "citi"}, "output_dir of a citi run"),
    ],
)
def test_wrong_options_say_what_to_change(
    tiny_llama_dir: Path, data: Path, tmp_path: Path, changes: dict[str, Any], part: str
) -> None:
    with pytest.raises(OptionError) as error:
        train(ppo_options(tiny_llama_dir, data, tmp_path, **changes))
    assert part in error.value.message


def test_a_citi_policy_goes_on_from_its_adapter(
    tiny_llama_dir: Path, tiny_adapter_dir: Path, data: Path, tmp_path: Path
) -> None:
    options = ppo_options(
        tiny_llama_dir, data, tmp_path, finetuning_type="citi", adapter_name_or_path=str(tiny_adapter_dir), max_steps=3
    )
    run = train(options)
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (tiny_adapter_dir, run))
    assert before.keys() == after.keys()
    assert not [name for name in before if torch.equal(before[name], after[name])]
    assert steps(run)[0]["kl"] == pytest.approx(0, abs=1e-5)  # the reference is the adapter as it was, not the base
    with_base = steps(train(options | {"output_dir": str(tmp_path / "base"), "tl_reference": "base", "max_steps": 1}))
    assert abs(with_base[0]["kl"]) > 1e-3
