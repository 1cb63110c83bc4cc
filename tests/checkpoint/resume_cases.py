"""The table of what resumes: every method and way to tune, on models of every kind.

A case is a command; `interrupt` ends it after its third step and `outcome` reads all that it leaves behind.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from safetensors.torch import load_file
from torch import Tensor
from transformers import TrainerCallback, set_seed

import tiny
from llamafactory_ext.molora import MoLoraConfig
from ppo_runs import ppo_options, write_ppo_data
from processes import train_options
from runs import citi_options
from sampling import ALL, sample
from skintern.knowledge import write_knowledge
from tl.trajectories import records, write_data

Options = dict[str, Any]
SAVING = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "lr_scheduler_type": "cosine"}
LORA = {"finetuning_type": "lora", "lora_rank": 4, "lora_target": "all"}


@dataclass(frozen=True)
class Model:
    """A kind of base model.

    Attributes:
        tied: whether input and output embedding are one weight.
        biased: whether the linears have biases.
        dtype: of the saved weights.
        mixed: whether the run trains with bf16: true.
    """

    tied: bool
    biased: bool
    dtype: torch.dtype
    mixed: bool = False

    @property
    def name(self) -> str:
        parts = ["tied" if self.tied else "untied", "biased" if self.biased else "unbiased"]
        return "-".join([*parts, str(self.dtype).removeprefix("torch."), *(["mixed"] if self.mixed else [])])

    def save(self, folder: Path) -> Path:
        """Write the model, and an adapter of citi for it in the folder `adapter` within."""
        changes = {"attention_bias": self.biased, "mlp_bias": self.biased, "tie_word_embeddings": self.tied}
        model = tiny.save_tiny_model(folder, dtype=self.dtype, **changes)
        set_seed(0)
        config = MoLoraConfig(target_modules=["down_proj", "q_proj"], r=4, alpha=64, init_weights=False)
        get_peft_model(tiny.tiny_model(dtype=self.dtype, **changes), config).save_pretrained(folder / "adapter")
        return model


TYPES = ((torch.float32, False), (torch.float16, False), (torch.bfloat16, False), (torch.bfloat16, True))
MODELS = tuple(Model(*flags, *kind) for flags in itertools.product((True, False), repeat=2) for kind in TYPES)


def _citi(model: Path, folder: Path, output: Path, **changes: Any) -> Options:
    data = tiny.write_tiny_data(folder / "tiny", 16)
    return citi_options(model, data, output, **(SAVING | changes))


def _citi_tl_sft(model: Path, folder: Path, output: Path, **changes: Any) -> Options:
    data = write_data(folder / "trajectories", records(12))
    more = {"stage": "tl_sft", "dataset": "trajectories", "template": "llama3_api_bank", "cutoff_len": 1024}
    return citi_options(model, data, output, **(SAVING | more | changes))


def _tl_sft(model: Path, folder: Path, output: Path, **changes: Any) -> Options:
    settings = {
        "stage": "tl_sft",
        "finetuning_type": "full",
        "dataset": "trajectories",
        "template": "llama3_api_bank",
        "cutoff_len": 1024,
        "learning_rate": 1e-3,
        "overwrite_cache": True,
        "seed": 7,
    }
    data = write_data(folder / "trajectories", records(12))
    return train_options(model, data, output, **(settings | SAVING | changes))


def _tl_ppo(model: Path, folder: Path, output: Path, **changes: Any) -> Options:
    # Four updates per batch of responses: a checkpoint after two lies within one.
    half_way = {"per_device_train_batch_size": 2, "tl_minibatches": 2, "tl_ppo_epochs": 2, "tl_max_new_tokens": 4}
    if changes.get("finetuning_type") == "citi":
        changes["adapter_name_or_path"] = str(model / "adapter")
    data = write_ppo_data(folder / "ppo", 16)
    return ppo_options(model, data, output, **(SAVING | half_way | changes))


def _data(model: Path, folder: Path, output: Path, **changes: Any) -> Options:
    settings = {
        "finetuning_type": "data",
        "data_task": "first",
        "data_low_rank": 2,
        "data_high_rank": 3,
        "data_components": 3,
        "data_layers_per_gate": 1,
        "learning_rate": 5e-3,
        "overwrite_cache": True,
        "seed": 7,
    }
    return train_options(model, tiny.write_tiny_data(folder / "tiny", 16), output, **(settings | SAVING | changes))


def _skintern(model: Path, folder: Path, output: Path, **changes: Any) -> Options:
    data = write_knowledge(folder / "knowledge", 16)
    settings = {
        "stage": "skintern",
        "dataset": "knowledge",
        "template": "llama3",
        "skintern_steps": 3,
        "skintern_shots": 2,
        "cutoff_len": 1024,
        "learning_rate": 1e-3,
        "overwrite_cache": True,
        "seed": 7,
    }
    return train_options(model, data, output, **(settings | SAVING | changes))


METHODS: dict[str, tuple[Callable[..., Options], Options]] = {
    "citi": (_citi, {"loraplus_lr_ratio": 4}),
    "citi-lora": (_citi, {"citi_adapter": "lora", "citi_phases": "mi,uco", "citi_num_experts": None}),
    "citi-full": (
        _citi,
        {"citi_adapter": "full", "citi_phases": "mi", "citi_num_experts": None, "citi_rank": None}
        | {"citi_bottom_ratio": None},
    ),
    "citi-tl_sft": (_citi_tl_sft, {}),
    "data": (_data, {"data_restore_ratio": 0.5, "data_restore_probability": 0.2}),
    "tl_sft-full": (_tl_sft, {}),
    "tl_sft-lora": (_tl_sft, LORA | {"lora_dropout": 0.1}),
    "tl_sft-freeze": (_tl_sft, {"finetuning_type": "freeze", "freeze_trainable_layers": 1}),
    "tl_ppo-full": (_tl_ppo, {}),
    "tl_ppo-full-own": (_tl_ppo, {"tl_critic": "own"}),
    "tl_ppo-lora": (_tl_ppo, LORA),
    "tl_ppo-lora-own": (_tl_ppo, LORA | {"tl_critic": "own"}),
    "tl_ppo-freeze": (_tl_ppo, {"finetuning_type": "freeze", "freeze_trainable_layers": 1}),
    "tl_ppo-citi": (_tl_ppo, {"finetuning_type": "citi"}),
    "skintern-lora": (_skintern, LORA | {"lora_dropout": 0.1}),
    "skintern-full": (_skintern, {"finetuning_type": "full", "skintern_lr_schedule": "whole"}),
    "skintern-freeze": (_skintern, {"finetuning_type": "freeze", "freeze_trainable_layers": 1}),
}

BRIEF = (
    *("citi", "citi-lora", "data", "tl_sft-full", "tl_sft-lora", "tl_ppo-lora-own", "tl_ppo-freeze"),
    *("skintern-lora", "skintern-full"),
)


@dataclass(frozen=True)
class Case:
    """One command."""

    method: str
    model: Model

    @property
    def name(self) -> str:
        return f"{self.method}-{self.model.name}"

    def options(self, model: Path, folder: Path, output: Path, **changes: Any) -> Options:
        """The command's options; `folder` takes its data."""
        make, own = METHODS[self.method]
        return make(model, folder, output, **own, bf16=self.model.mixed or None, **changes)


def cases() -> list[Case]:
    """Return the whole table; or each method with a few ways to tune, on kinds of models that all differ."""
    if ALL:
        return [Case(method, model) for method in METHODS for model in MODELS]
    once = [Case("tl_ppo-full", Model(tied=True, biased=False, dtype=torch.float32))]
    return [*once, *(Case(*pair) for pair in zip(BRIEF, sample(MODELS, len(BRIEF)), strict=True))]


class Interrupt(TrainerCallback):
    """Ctrl+C after the third step: of phase mi in a run of citi, of step s2 in one of SKIntern."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        folder = Path(args.output_dir).name
        if state.global_step == 3 and (not folder.startswith("phase-") or folder.endswith(("-mi", "-s2"))):
            raise KeyboardInterrupt


def outcome(folder: Path) -> dict[str, Tensor]:
    """All weights that a finished run keeps, those of checkpoints and phases included, by file and name."""
    return {
        f"{path.relative_to(folder)}:{name}": weight
        for path in sorted(folder.rglob("*.safetensors"))
        for name, weight in load_file(path).items()
    }
