"""The rows of the real table, their trials, and by what the settings of each are chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .data import dataset_name
from .measure import NLL

Row = dict[str, Any]
Settings = Mapping[str, Any]
TRIAL_SEED, FIRST_SEED = 7, 42
PASSES = 2.0
COMMON: Settings = {
    "stage": "sft",
    "do_train": True,
    "cutoff_len": 512,
    "overwrite_cache": True,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 2,
    "use_cpu": True,
    "bf16": True,
    "disable_gradient_checkpointing": True,
    "overwrite_output_dir": True,
    "logging_steps": 5,
    "report_to": "none",
}
# Eight examples a step everywhere. Small pieces save padding and memory; CITI's router loss compares the examples of
# one piece, so its piece is the whole step.
_BASELINE: Settings = {
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 4,
    "num_train_epochs": PASSES,
    "save_strategy": "no",
}
_LORA: Settings = {"finetuning_type": "lora", "lora_target": "all", "lora_rank": 16, "lora_alpha": 16, **_BASELINE}
_FULL: Settings = {"finetuning_type": "full", **_BASELINE}
# Half a pass for the routers, one for the experts, half a one for the backbone: every example is seen twice, as there.
_CITI: Settings = {
    "finetuning_type": "citi",
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "citi_router_scope": "sample",
    "citi_importance_samples": 60,
    "citi_report_samples": 16,
    "citi_rp_epochs": PASSES / 4,
    "citi_rp_lr": 5e-3,
    "citi_mi_epochs": PASSES / 2,
    "citi_mi_lr": 2e-3,
    "citi_uco_epochs": PASSES / 4,
    "citi_uco_lr": 1e-4,
}


@dataclass(frozen=True)
class Kind:
    """One row of the table.

    Attributes:
        name, label: of the row.
        options: of the training, beside those that all rows share.
        trials: settings that are tried, each on top of the options; a mixture stands under "mixture".
        is_adapter: whether the training writes an adapter; otherwise it writes a whole model.
        resumes: whether an interrupted training goes on.
    """

    name: str
    label: str
    options: Settings = field(default_factory=dict)
    trials: tuple[Settings, ...] = ()
    is_adapter: bool = True
    resumes: bool = False


def _rates(*rates: float) -> tuple[Settings, ...]:
    return tuple({"learning_rate": rate} for rate in rates)


BASE = Kind("base", "base model", is_adapter=False)
_KINDS = (
    BASE,
    Kind("ft", "full fine-tuning", {**_FULL, "mixture": "calls"}, _rates(2e-5, 5e-5, 1e-4, 2e-4), is_adapter=False),
    Kind(
        "lora",
        "LoRA",
        {**_LORA, "mixture": "calls"},
        (*_rates(5e-4, 1e-3, 2e-3), {"learning_rate": 1e-3, "lora_rank": 32, "lora_alpha": 32}),
    ),
    Kind(
        "ft_dm",
        "full fine-tuning + general data",
        {**_FULL, "mixture": "mix"},
        (*_rates(5e-5, 1e-4, 2e-4), {"learning_rate": 1e-4, "mixture": "mix_less"}),
        is_adapter=False,
    ),
    Kind(
        "lora_dm",
        "LoRA + general data",
        {**_LORA, "mixture": "mix"},
        (
            *_rates(5e-4, 1e-3),
            {"learning_rate": 1e-3, "lora_rank": 32, "lora_alpha": 32},
            {"learning_rate": 1e-3, "mixture": "mix_less"},
        ),
    ),
    Kind(
        "citi",
        "CITI",
        {**_CITI, "mixture": "mix"},
        (
            {"citi_alpha": 2},
            {"citi_alpha": 8},
            {"citi_alpha": 8, "citi_router_scope": "batch"},
            {"citi_alpha": 8, "citi_top_ratio": 0.4, "citi_bottom_ratio": 0.2, "citi_uco_lr": 2e-4},
        ),
        resumes=True,
    ),
)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _KINDS}
NAMES = tuple(KINDS)


@dataclass(frozen=True)
class Job:
    """One run of the table.

    Attributes:
        name: of its folder and its result.
        kind: the row.
        options: of the training as LLaMA-Factory reads them; the model, the data and the folders are added later.
        half: of the held-out items it is measured on.
        seed: of the training; None for the base, which is not trained.
    """

    name: str
    kind: Kind
    options: Settings
    half: str
    seed: int | None

    @property
    def label(self) -> str:
        """Return what the terminal calls it."""
        return self.name.replace("-trial-", ", trial ").replace("-", ", seed ")


def _job(name: str, kind: Kind, settings: Settings, seed: int, *, is_trial: bool) -> Job:
    options = {**COMMON, **kind.options, **settings, "seed": seed}
    options["dataset"] = dataset_name(str(options.pop("mixture")), quarter=is_trial)
    return Job(name, kind, options, "validation" if is_trial else "test", seed)


def base_job() -> Job:
    """Return the run that measures the base model alone."""
    return Job(BASE.name, BASE, {}, "test", None)


def trials_of(name: str) -> list[Job]:
    """Return the trials of a row, on a quarter of its data."""
    kind = KINDS[name]
    return [
        _job(f"{name}-trial-{number}", kind, settings, TRIAL_SEED, is_trial=True)
        for number, settings in enumerate(kind.trials)
    ]


def run_of(name: str, seed: int, settings: Settings) -> Job:
    """Return a run of a row on its whole data."""
    return _job(f"{name}-{seed}", KINDS[name], settings, seed, is_trial=False)


def tools_of(scores: Mapping[str, Any]) -> float:
    """Return the mean of the shares of right names and of wholly right calls on the validation calls."""
    worth: float = (scores["calls"]["mean"] + scores["calls"]["name"]["mean"]) / 2
    return worth


def general_of(scores: Mapping[str, Any]) -> float:
    """Return the mean of HellaSwag's accuracy and of a token's (geometric) mean probability in held-out answers."""
    parts = [scores["hellaswag"]["mean"], *(math.exp(-scores[name]["mean"]) for name in NLL)]
    return float(sum(parts) / len(parts))


def worth(row: Row) -> float:
    """Return what a trial is chosen by."""
    return (tools_of(row["scores"]) + general_of(row["scores"])) / 2


def winner(name: str, tried: Sequence[Row]) -> Settings:
    """Return the settings of the best trial; of equals the first."""
    best = max(range(len(tried)), key=lambda number: worth(tried[number]))
    return KINDS[name].trials[best]
