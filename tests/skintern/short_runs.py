"""Runs of `stage: skintern` within a test's own process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from checkpoint.resume_cases import LORA
from processes import train_options
from skintern.knowledge import write_knowledge


def options(model: Path, folder: Path, out: str = "out", **changes: Any) -> dict[str, Any]:
    """A run of `stage: skintern` on eight records."""
    settings: dict[str, Any] = {
        "stage": "skintern",
        "dataset": "knowledge",
        "template": "llama3",
        "skintern_steps": 3,
        "skintern_shots": 1,
        "cutoff_len": 512,
        "learning_rate": 1e-3,
        "num_train_epochs": 3,
        "per_device_train_batch_size": 2,
        "save_strategy": "no",
        "logging_steps": 1,
        "overwrite_cache": True,
        **LORA,
    }
    data = folder / "data"
    if not data.is_dir():
        write_knowledge(data, 8)
    return train_options(model, data, folder / out, **(settings | changes))
