"""The YAMLs of TL-Training's second stage run: the lab's on the embedded model, the paper's on a tiny one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from llamafactory_ext.lab.methods import SHIPPED_MODEL
from ppo_runs import steps, train

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parents[3]
SMALL = {
    "dataset": "lab_trajectories",
    "max_samples": 8,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 4,
    "max_steps": 1,
    "tl_max_new_tokens": 8,
    "save_strategy": "no",
    "logging_steps": 1,
    "plot_loss": False,
    "overwrite_cache": True,
    "use_cpu": True,
}


def read(name: str) -> dict[str, Any]:
    options: Any = OmegaConf.to_container(OmegaConf.load(ROOT / "examples" / "yaml" / f"{name}.yaml"))
    return options


def test_the_papers_settings(tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    options = read("tl_ppo_codellama")
    assert (options["learning_rate"], options["tl_critic_lr"], options["num_train_epochs"]) == (2e-6, 1e-6, 3)
    assert options["per_device_train_batch_size"] * options["gradient_accumulation_steps"] == 8
    assert (options["tl_critic"], options["tl_kl_coef"], options["tl_reward_clip"]) == ("own", 0.4, 5)
    changes = {"model_name_or_path": str(tiny_llama_dir), "output_dir": str(tmp_path), "bf16": False}
    (logged,) = steps(train(options | SMALL | changes))
    assert -2 <= logged["reward"] <= 1


@pytest.mark.parametrize("name", ["tl_ppo_tiny", "tl_group_tiny"])
def test_the_labs_yaml_goes_on_from_the_labs_first_stage(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    options, first = read(name), read("tl_sft_tiny")
    assert options["model_name_or_path"] == first["output_dir"]
    assert (options["template"], options["dataset"]) == (first["template"], first["dataset"])
    changes = {"model_name_or_path": str(SHIPPED_MODEL), "output_dir": str(tmp_path)}
    (logged,) = steps(train(options | SMALL | changes))
    assert -2 <= logged["reward"] <= 1


def test_the_labs_yaml_acts_in_the_labs_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    options, first = read("tl/tl_rl_tiny"), read("tl_sft_tiny")
    assert (options["model_name_or_path"], options["template"]) == (first["output_dir"], first["template"])
    small = SMALL | {"dataset": "lab_chains", "max_samples": 12, "val_size": 4, "tl_group_size": 4}
    run = train(options | small | {"model_name_or_path": str(SHIPPED_MODEL), "output_dir": str(tmp_path)})
    (logged,) = steps(run)
    assert 0 <= logged["reward"] <= 1
    assert not any(value for name, value in logged.items() if name.startswith("fault_"))
    assert 1 <= json.loads((run / "eval_results.json").read_text("utf-8"))["eval_turns"] <= 4
    assert '"step": 1' in (run / "episodes.jsonl").read_text("utf-8")
    assert "### Step 1, best: lab_chains.json, index" in (run / "README.md").read_text("utf-8")
