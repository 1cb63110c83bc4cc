"""Where an adapter comes from: options, base model, data and versions, as the manifest beside it says."""

from __future__ import annotations

import datetime as calendar
import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ...checkpoint.base import identity_of
from ...training.phased import DAY, Phase
from .new_rows import vocabulary_of


def make_manifest(
    plan: dict[str, Any],
    base: nn.Module,
    model_args: Any,
    data: str,
    phases: Sequence[Phase],
    day: calendar.date | None = None,
) -> dict[str, Any]:
    """Return where a run comes from.

    Args:
        plan: all options that shape the outcome.
        base: the base model.
        model_args: upstream's group of the options.
        data: hash of the tokenized training data.
        phases: of the run; none where it has no phases.
        day: the day that the tools of the template say, if they say one.
    """
    name = model_args.model_name_or_path
    return {
        "plan": plan,
        "base": {
            "name": name,
            "revision": None if Path(name).is_dir() else model_args.model_revision,
            "commit": getattr(base.config, "_commit_hash", None),
            **identity_of(base),
            "vocabulary": vocabulary_of(base),
        },
        "data": data,
        "phases": [
            {"name": phase.name, "title": phase.title, "epochs": phase.epochs, "lr": phase.lr} for phase in phases
        ],
        "versions": _versions(),
        **({DAY: day.isoformat()} if day is not None else {}),
    }


def _versions() -> dict[str, str]:
    names = ("llamafactory", "llamafactory_ext", "torch", "transformers", "peft", "accelerate")
    return {name: importlib.metadata.version(name) for name in names}
