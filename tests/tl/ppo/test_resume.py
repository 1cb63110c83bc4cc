"""An interrupted run of PPO goes on exactly, also from the middle of a batch of responses; and on two processes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from llamafactory_ext.errors import CheckpointError
from ppo_runs import ppo_options, steps, train, write_ppo_data
from processes import train_on_two, write_yaml

# Four updates per batch of responses: a checkpoint after 3 updates or 7 lies within one.
HALF_WAY = {
    "per_device_train_batch_size": 2,
    "tl_minibatches": 2,
    "tl_ppo_epochs": 2,
    "max_steps": 8,
    "save_strategy": "steps",
    "save_steps": 3,
    "lr_scheduler_type": "linear",
    "tl_kl_target": 0.5,
    "tl_kl_horizon": 50,
}
LORA = {"finetuning_type": "lora", "lora_rank": 4, "lora_target": "all", "tl_critic": "own"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ppo_data(tmp_path_factory.mktemp("ppo_data"), 18)


def logged(folder: Path) -> list[dict[str, float]]:
    """The log without what is measured by a clock."""
    return [{name: value for name, value in entry.items() if "seconds" not in name} for entry in steps(folder)]


@pytest.mark.parametrize("changes", [{}, LORA], ids=["full, shared critic", "lora, its own critic"])
def test_resuming_is_exact(tiny_llama_dir: Path, data: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    options = ppo_options(tiny_llama_dir, data, tmp_path / "whole", **(HALF_WAY | changes))
    whole = train(options)
    name = "adapter_model.safetensors" if changes else "model.safetensors"
    assert len({entry["kl_coef"] for entry in logged(whole) if "kl_coef" in entry}) == 2
    for step in (3, 6):
        part = tmp_path / f"part-{step}"
        shutil.copytree(whole / f"checkpoint-{step}", part / f"checkpoint-{step}")
        train(options | {"output_dir": str(part)})
        ours, theirs = load_file(part / name), load_file(whole / name)
        assert all(torch.equal(ours[weight], theirs[weight]) for weight in theirs)
        assert logged(part) == logged(whole)
        last = (folder / "checkpoint-8" for folder in (part, whole))
        critics = [load_file(folder / "critic.safetensors") for folder in last]
        assert all(torch.equal(critics[0][weight], critics[1][weight]) for weight in critics[1])


def test_checkpoints_hold_no_pickle_and_other_critics_are_refused(
    tiny_llama_dir: Path, data: Path, tmp_path: Path
) -> None:
    options = ppo_options(tiny_llama_dir, data, tmp_path / "out", max_steps=1, save_strategy="steps", save_steps=1)
    folder = train(options)
    endings = {file.suffix for file in folder.rglob("*") if file.is_file()}
    assert endings <= {".safetensors", ".json", ".jsonl", ".jinja", ".md", ".txt", ".model"}
    with pytest.raises(CheckpointError, match="tl_critic"):
        train(options | {"tl_critic": "own", "max_steps": 2})


def test_two_processes_learn_what_one_learns(tiny_llama_dir: Path, data: Path, tmp_path: Path) -> None:
    """Greedy responses do not depend on the process; the mean over all tokens and the whitening span both."""
    common = {"tl_temperature": 0, "max_steps": 2, "optim": "sgd", "learning_rate": 0.05, "tl_whiten": True}
    one = train(ppo_options(tiny_llama_dir, data, tmp_path / "one", per_device_train_batch_size=8, **common))
    options = ppo_options(
        tiny_llama_dir,
        data,
        tmp_path / "two",
        per_device_train_batch_size=4,
        eval_dataset="held",
        do_eval=True,
        **common,
    )
    result = train_on_two(write_yaml(tmp_path / "two.yaml", options))
    assert result.returncode == 0, result.stderr[-3000:]
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (tmp_path / "two", one))
    start = load_file(tiny_llama_dir / "model.safetensors")
    assert any(not torch.allclose(ours[name], start[name], atol=1e-4) for name in ours)
    assert all(torch.allclose(ours[name], theirs[name], atol=2e-5) for name in ours)
    for left, right in zip(steps(tmp_path / "two"), steps(one), strict=True):
        for name in ("reward", "response_tokens", "kl", "policy_loss", "value_loss", "part_vowels"):
            assert left[name] == pytest.approx(right[name], abs=1e-4), name
    metrics = json.loads((tmp_path / "two" / "eval_results.json").read_text())
    assert metrics["eval_reward_se"] > 0
