"""Whole CITI runs inside the test's own process, through upstream's `run_exp`, quick and observable."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from llamafactory.train.tuner import run_exp
from safetensors.torch import load_file
from torch import Tensor
from transformers import TrainerCallback

from processes import train_options

PHASES = ("rp", "mi", "uco")
WEIGHTS = "adapter_model.safetensors"


def citi_options(model: Path, data: Path, output: Path, **changes: Any) -> dict[str, Any]:
    """A CITI run of a few dozen steps on a tiny model: 4 linears of a Llama adapted, 2 tuned, visible moves."""
    options = {
        "citi_rank": 2,
        "citi_num_experts": 2,
        "citi_top_ratio": 0.3,
        "citi_bottom_ratio": 0.2,
        "citi_importance_samples": 6,
        "citi_report_samples": 0,
        "citi_rp_lr": 1e-2,
        "citi_mi_lr": 1e-2,
        "citi_uco_lr": 1e-3,
        "overwrite_cache": True,
        "save_strategy": "no",
        "seed": 7,
    }
    return train_options(model, data, output, **(options | changes))


@dataclass
class Run:
    """What a run left behind.

    Attributes:
        path: its output_dir.
        said: the workflow's own lines in the log, in order.
    """

    path: Path
    said: list[str] = field(default_factory=list)

    def folder(self, phase: str) -> Path:
        (found,) = self.path.glob(f"phase-?-{phase}")
        return found

    def adapter(self, phase: str) -> dict[str, Tensor]:
        """The adapter as `phase` left it."""
        return load_file(self.folder(phase) / "adapter" / WEIGHTS)

    def weights(self) -> dict[str, Tensor]:
        """The finished adapter."""
        return load_file(self.path / WEIGHTS)

    def json(self, name: str) -> Any:
        return json.loads((self.path / name).read_text("utf-8"))

    def steps(self, phase: str) -> list[dict[str, float]]:
        """The logged steps of `phase`."""
        history = json.loads((self.folder(phase) / "trainer_state.json").read_text("utf-8"))["log_history"]
        return [entry for entry in history if "loss" in entry]


def train(options: dict[str, Any], *callbacks: TrainerCallback, pictures: bool = False) -> Run:
    """`llamafactory-cli train` without a process of its own.

    Args:
        options: as in a YAML file.
        callbacks: see every phase.
        pictures: False leaves out report, pictures and model card, which take longer than the training.
    """
    run = Run(Path(options["output_dir"]))
    with pytest.MonkeyPatch.context() as patch, listening(run.said), _quick_collections():
        if not pictures:
            patch.setattr("llamafactory_ext.citi.run.workflow.write_outputs", _nothing)
        run_exp(options, list(callbacks))
    return run


def _nothing(*_: Any) -> None:
    pass


@contextmanager
def listening(said: list[str], method: str = "citi") -> Iterator[None]:
    """Collects the lines of a workflow's logger, whatever became of the loggers above it."""

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger, listener = logging.getLogger(f"llamafactory.{method}"), Listener()
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(listener)


@contextmanager
def _quick_collections() -> Iterator[None]:
    """Nine garbage collections per run need not look at all of torch's and pytest's objects each time."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def phase_of(args: Any) -> str:
    """The phase that a callback's training arguments belong to."""
    return str(Path(args.output_dir).name.rpartition("-")[2])


class Interrupt(TrainerCallback):
    """Ctrl+C at one moment of one phase: `event` is a callback's method, `step` the optimiser step."""

    def __init__(self, phase: str, event: str, step: int | None = None) -> None:
        self.phase, self.step = phase, step
        setattr(self, event, self._interrupt)

    def _interrupt(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if phase_of(args) == self.phase and self.step in (None, state.global_step):
            raise KeyboardInterrupt


class Snapshots(TrainerCallback):
    """All parameters of the model, base included, at the begin and the end of each phase; and the model itself."""

    def __init__(self) -> None:
        self.begin: dict[str, dict[str, Tensor]] = {}
        self.end: dict[str, dict[str, Tensor]] = {}
        self.trainable: dict[str, set[str]] = {}
        self.steps: dict[str, int] = {}
        self.model: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.begin[phase_of(args)] = copy_of(model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        phase = phase_of(args)
        self.steps[phase] = self.steps.get(phase, 0) + 1
        self.trainable[phase] = {name for name, weight in model.named_parameters() if weight.requires_grad}

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.end[phase_of(args)] = copy_of(model)
        self.model = model


def copy_of(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def equal(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Whether both hold the same tensors, to the last bit."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def differing(left: dict[str, Tensor], right: dict[str, Tensor]) -> set[str]:
    """Names of the tensors that differ; the names must be the same."""
    assert left.keys() == right.keys()
    return {name for name in left if not torch.equal(left[name], right[name])}
