"""Whole runs of `stage: tl_ppo` on a tiny random model, within the test's own process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llamafactory.train.tuner import run_exp
from safetensors.torch import load_file
from torch import Tensor

from processes import train_options

TOOLS = {
    "AddReminder": {"content": {"type": "str", "description": "What."}},
    "GetWeather": {"city": {"type": "str", "description": "Where."}},
}
DESCRIBED = "\n".join(
    json.dumps({"apiCode": name, "description": f"{name}.", "parameters": parameters})
    for name, parameters in TOOLS.items()
)


def ppo_records(count: int) -> list[dict[str, str]]:
    """Alpaca records whose tools stand in the prompt, with prompts of different lengths."""
    records = []
    for i in range(count):
        answer = f"AddReminder(content='item {i}')" if i % 2 else f"GetWeather(city='Paris {i}')"
        asked = f"User: {'please ' * (i % 5)}{answer[:5]} {i}.\nGenerate API Request: "
        records.append({"instruction": DESCRIBED, "input": asked, "output": f"API-Request: [{answer}]"})
    return records


def write_ppo_data(folder: Path, count: int = 16, **more: list[dict[str, Any]]) -> Path:
    """The data sets `ppo` of `count` records and `held` of 4, and others by name."""
    folder.mkdir(parents=True, exist_ok=True)
    records = ppo_records(count + 4)
    info = {}
    for name, content in {"ppo": records[:count], "held": records[count:], **more}.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        info[name] = {"file_name": f"{name}.json"}
    (folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")
    return folder


def ppo_options(model: Path, data: Path, output: Path, **changes: Any) -> dict[str, Any]:
    """A run of a few updates; None removes an option."""
    options = {
        "stage": "tl_ppo",
        "finetuning_type": "full",
        "dataset": "ppo",
        "cutoff_len": 1024,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "max_steps": 2,
        "tl_max_new_tokens": 6,
        "tl_reward_function": "ppo_rewards:length",
        "save_strategy": "no",
        "overwrite_cache": True,
        "disable_gradient_checkpointing": True,
        "lr_scheduler_type": "constant",
        "seed": 7,
    }
    return train_options(model, data, output, **(options | changes))


def train(options: dict[str, Any], *callbacks: Any) -> Path:
    """Runs to the end; the output folder."""
    run_exp(options, list(callbacks))
    return Path(options["output_dir"])


def accumulated(model: Path, data: Path, folder: Path, **changes: Any) -> list[dict[str, Tensor]]:
    """The weights after one update of eight responses, in one batch and in four of two."""
    found = []
    for size, parts in ((8, 1), (2, 4)):
        batches = {"per_device_train_batch_size": size, "gradient_accumulation_steps": parts}
        options = ppo_options(model, data, folder / str(parts), **changes, **batches, max_steps=1, optim="sgd")
        found.append(load_file(train(options) / "model.safetensors"))
    return found


def steps(folder: Path) -> list[dict[str, float]]:
    """The logged updates."""
    history = json.loads((folder / "trainer_state.json").read_text("utf-8"))["log_history"]
    return [entry for entry in history if "loss" in entry]


def warnings(patch: pytest.MonkeyPatch) -> list[str]:
    """Collects what the run warns of."""
    from llamafactory_ext.tl.ppo import workflow

    said: list[str] = []
    collect: Callable[[str], None] = said.append
    patch.setattr(workflow.logger, "warning_rank0", collect, raising=False)
    return said
