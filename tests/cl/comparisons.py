"""Small comparisons: their options and data, and what runs the driver's commands in this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from llamafactory.train.tuner import run_exp

from llamafactory_ext.cl.answering import answer
from llamafactory_ext.cl.parts import Plan
from llamafactory_ext.cl.plan import read_plan
from llamafactory_ext.cl.rivals.training import train
from llamafactory_ext.cl.routing import run as route

TASKS = ("colours", "numbers", "animals")
WORDS = {"colours": ("red", "blue"), "numbers": ("one", "two"), "animals": ("dog", "cat")}
METHODS: dict[str, Any] = {
    "data": {"options": {"data_low_rank": 2, "data_high_rank": 2, "data_components": 2}},
    "seq_lora": {"options": {"lora_rank": 4}},
    "replay": {"share": 0.5, "options": {"lora_rank": 4}},
    "multi_task": {"options": {"lora_rank": 4}},
    "per_task": {"options": {"lora_rank": 4}},
}
RIVALS: dict[str, Any] = {
    "inc_lora": {"options": {"lora_rank": 4}},
    "olora": {"options": {"lora_rank": 4}},
    "slao": {"options": {"lora_rank": 4}},
    "ewc": {"settings": {"strength": 100.0, "items": 4}, "options": {"lora_rank": 4}},
    "lwf": {"options": {"lora_rank": 4}},
    "osf": {"options": {"optim": "sgd", "learning_rate": 0.1}},  # Adam leaves the span of its gradients
}

_SMALL = {"data_low_rank": 2, "data_high_rank": 2, "data_components": 2}
PROTECTED: dict[str, Any] = {
    "project": {"kind": "data", "data_protect": "project", "settings": {"energy": 0.9, "items": 4}, "options": _SMALL},
    "experts": {"kind": "data", "data_protect": "experts", "options": _SMALL},
}


def records(task: str, first: int, count: int) -> list[dict[str, str]]:
    return [
        {"instruction": f"Say item {i} of {task}.", "input": "", "output": WORDS[task][i % 2]}
        for i in range(first, first + count)
    ]


def options_of(folder: Path, model: Path, /, **changes: Any) -> dict[str, Any]:
    """The options of a comparison, with the data that they name."""
    for task in TASKS:
        (folder / task).mkdir(parents=True, exist_ok=True)
        for name, items in (("train", records(task, 0, 6)), ("test", records(task, 20, 4))):
            (folder / task / f"{name}.json").write_text(json.dumps(items), encoding="utf-8")
    settings = {
        "name": "words",
        "out": str(folder / "out"),
        "model": str(model),
        "template": "llama3",
        "methods": METHODS,
        "seeds": [1],
        "train": {
            "use_cpu": True,
            "max_steps": 2,
            "logging_steps": 1,
            "learning_rate": 1e-2,
            "per_device_train_batch_size": 2,
            "cutoff_len": 128,
            "lora_target": "all",
        },
        "tasks": [
            {
                "name": task,
                "train": str(folder / task / "train.json"),
                "test": str(folder / task / "test.json"),
                "max_new_tokens": 2,
            }
            for task in TASKS
        ],
        "evaluate": {
            "general": [{"name": "general", "test": str(folder / "colours" / "train.json"), "max_new_tokens": 2}]
        },
    }
    settings["train"].pop("lora_target")
    return settings | changes


def plan_of(folder: Path, model: Path, /, **changes: Any) -> Plan:
    path = folder / "cl.yaml"
    path.write_text(yaml.safe_dump(options_of(folder, model, **changes)), encoding="utf-8")
    return read_plan(path)


class Here:
    """Runs the driver's commands in this process.

    Attributes:
        done: what was run, in order.
        ends: after how many commands the driver is killed; None for never.
    """

    def __init__(self, ends: int | None = None) -> None:
        self.done: list[str] = []
        self.ends = ends

    def __call__(self, command: Sequence[str], log: Path) -> None:
        if self.ends is not None and len(self.done) == self.ends:
            raise KeyboardInterrupt
        if command[1] == "train":
            run_exp(yaml.safe_load(Path(command[2]).read_text("utf-8")))
            self.done.append(f"train {Path(command[2]).parent.relative_to(Path(command[2]).parents[3])}")
        elif command[2].endswith(".training"):
            train(json.loads(Path(command[3]).read_text("utf-8")))
            self.done.append(f"train {Path(command[3]).parent.relative_to(Path(command[3]).parents[3])}")
        elif command[2].endswith(".routing"):
            route(json.loads(Path(command[3]).read_text("utf-8")))
            self.done.append(f"route {Path(command[3]).parent.name}")
        else:
            answer(json.loads(Path(command[3]).read_text("utf-8")))
            self.done.append(f"answer {Path(command[3]).parent.name}")


def silent(_: str) -> None:
    pass
