"""`dry_run: true`: what a run would train and take, in the place of the run.

Where the model fits here, a few steps of the run itself are made in a folder that is removed, and scaled up; else the
sizes come from the model's configuration alone (`training/scale.py`).
"""

from __future__ import annotations

import copy
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from ...methods import load, worker
from ...training.devices import free_memory
from ...training.measured import Estimate, Trial
from ...training.scale import MASTER, MOMENTS
from ...training.skeleton import skeleton
from ...training.stopwatch import laps, now
from ..pipeline.skeleton import config_of

STEPS = 6  # optimiser steps of the trial
estimates: list[Estimate] = []
"""Those of this process, for whoever called it."""

Workflow = Callable[..., None]


def run_dry(workflow: Workflow, groups: tuple[Any, ...], callbacks: list[Any]) -> None:
    """Say what a run would take.

    Args:
        workflow: that would run.
        groups: upstream's groups of the options.
        callbacks: of the run; the trial has none of them.
    """
    finetuning_args = groups[3]
    if finetuning_args.dry_run_gpus or not fits(groups):
        from .dry_run_computed import computed

        text = computed(groups, max(1, finetuning_args.dry_run_gpus))
        if groups[2].should_save:
            print(text)
        return
    found = measure(workflow, groups)
    estimates.append(found)
    print(found.text())


def fits(groups: tuple[Any, ...]) -> bool:
    """Tell whether the model and the states of what trains fit this device, with half as much to work in."""
    model_args, _, training_args, finetuning_args = groups[:4]
    model = skeleton(config_of(model_args))
    weights = sum(weight.numel() for weight in model.parameters())
    small = model_args.compute_dtype in (torch.float16, torch.bfloat16)
    states = weights * (MASTER + MOMENTS) if finetuning_args.finetuning_type == "full" else 0
    return 1.5 * (weights * (2 if small else 4) + states) <= free_memory(training_args.device)


def measure(workflow: Workflow, groups: tuple[Any, ...]) -> Estimate:
    """Make a few steps of the run, and scale them up."""
    asked = groups[2]
    laps.clear()
    with tempfile.TemporaryDirectory(prefix="dry_run_") as folder:
        small = _small(groups, Path(folder))
        timer = _Timer()
        began = now()
        workflow(*small, [timer])
        trial = Trial(
            name=groups[3].tl_stage or groups[3].finetuning_type,
            seconds=now() - began,
            before=began if laps.own_clock else _process_age() - (now() - began),
            phases=tuple(timer.phases),
            laps=copy.deepcopy(laps),
            sizes=_sizes(Path(folder)),
            peak=_peak(asked.device),
        )
    return trial.scaled(asked, device=asked.device.type)


def _small(groups: tuple[Any, ...], folder: Path) -> tuple[Any, ...]:
    """Return the options of the trial: the run's own, but few steps, no evaluation, and a folder that is removed."""
    model_args, data_args, training_args, finetuning_args, generating_args = map(copy.copy, groups)
    row = worker(finetuning_args.finetuning_type, finetuning_args.tl_stage)
    own = load(row.trial)(finetuning_args, groups[3]) if row is not None and row.trial else None
    steps = own or (min(STEPS, training_args.max_steps) if training_args.max_steps > 0 else STEPS)
    training_args.output_dir = str(folder)
    training_args.max_steps, training_args.save_steps = max(2, steps), 10**9
    training_args.eval_strategy, training_args.do_eval = "no", False
    training_args.load_best_model_at_end, training_args.report_to = False, []
    training_args.resume_from_checkpoint, training_args.overwrite_output_dir = None, False
    if training_args.save_strategy != "no":
        training_args.save_strategy = type(training_args.save_strategy)("steps")
    training_args.logging_steps = 10**9
    finetuning_args.early_stopping_steps, finetuning_args.plot_loss = None, False
    return model_args, data_args, training_args, finetuning_args, generating_args


class _Timer(TrainerCallback):
    """Notes what each training is made of, and when its steps end."""

    def __init__(self) -> None:
        self.phases: list[dict[str, Any]] = []

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, train_dataloader: Any = None, **_: Any
    ) -> None:
        weights = list(model.parameters()) if model is not None else []
        batches = len(train_dataloader)
        self.phases.append(
            {
                "name": Path(args.output_dir).name.rpartition("-")[2] if "phase-" in args.output_dir else "training",
                "trained": sum(weight.numel() for weight in weights if weight.requires_grad),
                "total": sum(weight.numel() for weight in weights),
                "updates": max(1, -(-batches // args.gradient_accumulation_steps)),
                "epochs": float(args.num_train_epochs),
                "began": now(),
                "ends": [],
                "saved": 0.0,
            }
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.phases[-1]["ends"].append(now())

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.phases[-1]["saved"] = now() - self.phases[-1]["ends"][-1]


def _sizes(folder: Path) -> Mapping[str, int]:
    """Return bytes of the trial's folder: of its checkpoints, by the phase that they belong to, and of the rest."""
    found = {"rest": 0}
    for file in folder.rglob("*"):
        if not file.is_file():
            continue
        parts = file.relative_to(folder).parts
        inside = next((place for place, part in enumerate(parts) if part.startswith("checkpoint-")), None)
        phase = parts[0].rpartition("-")[2] if inside == 1 else "training"
        name = "rest" if inside is None else phase
        found[name] = found.get(name, 0) + file.stat().st_size
    return found


def _peak(device: torch.device) -> int:
    """Return bytes that this process held at most: of its device, or of the machine's memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_reserved(device))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _process_age() -> float:
    import psutil

    return time.time() - psutil.Process().create_time()


def as_json(found: Estimate) -> str:
    """Return an estimate for programs."""
    return json.dumps(found.to_dict(), indent=2)
