"""A run of `stage: tl_ppo` that draws from a server: every update learns from what the newest policy says."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from processes import run, write_yaml

ROOT = Path(__file__).parents[2]
TRAINER = shutil.which("llamafactory-cli", path=f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}")
STEPS = 2


def check_training(url: str, model: Path, template: str, folder: Path) -> None:
    """Train on the server's responses, and compare what was sent to it with what came out."""
    if TRAINER is None:
        pytest.skip("the environment of LLaMA-Factory is not there: make test makes it")
    options = {
        "stage": "tl_ppo", "do_train": True, "do_eval": True, "finetuning_type": "lora", "lora_rank": 4,
        "model_name_or_path": str(model), "template": template, "use_cpu": True,
        "dataset": "lab_trajectories", "dataset_dir": str(ROOT / "data"), "cutoff_len": 1024, "max_samples": 24,
        "val_size": 4, "overwrite_cache": True, "per_device_train_batch_size": 4, "tl_max_new_tokens": 8,
        "max_steps": STEPS, "learning_rate": 1e-2, "lr_scheduler_type": "constant", "logging_steps": 1,
        "disable_gradient_checkpointing": True, "report_to": "none", "save_strategy": "no",
        "output_dir": str(folder / "out"), "tl_rollout": "vllm", "tl_rollout_url": url,
    }  # fmt: skip
    result = run([TRAINER, "train", str(write_yaml(folder / "ppo.yaml", options))], ROOT)
    assert result.returncode == 0, result.stderr[-4000:]
    history = json.loads((folder / "out" / "trainer_state.json").read_text())["log_history"]
    updates = [entry for entry in history if "loss" in entry]
    assert len(updates) == STEPS
    assert all(1 <= entry["response_tokens"] <= 8 and entry["grad_norm"] > 0 for entry in updates)
    assert "eval_reward" in json.loads((folder / "out" / "eval_results.json").read_text())
    # The held-out queries were answered by the trained policy, the last update's by the one before.
    trained = load_file(folder / "out" / "adapter_model.safetensors")
    sent = [load_file(folder / "out" / "rollout_adapter" / str(n) / "adapter_model.safetensors") for n in (0, 1)]
    assert all(torch.equal(trained[name], sent[STEPS % 2][name]) for name in trained)
    assert not all(torch.equal(trained[name], sent[(STEPS + 1) % 2][name]) for name in trained)
