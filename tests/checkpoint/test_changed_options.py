"""A run goes on only with the options, the data and the base that it began with; what shapes nothing may change."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from llamafactory.train.tuner import run_exp
from safetensors.torch import save_file

import option_runs
import tiny
from llamafactory_ext.checkpoint.plans import plain
from llamafactory_ext.errors import CheckpointError
from llamafactory_ext.tl.plan import with_contents

METHODS = ("tl_sft", "tl_ppo")
OTHER = {
    "lora_rank": (4, "lora_alpha: 16, lora_rank: 8"),
    "lora_alpha": (64, "lora_alpha: 16"),
    "lora_target": ("q_proj", "lora_target: all"),
    "finetuning_type": ("full", "finetuning_type: lora"),
    "learning_rate": (1e-2, "learning_rate: 0.001"),
    "lr_scheduler_type": ("constant", "lr_scheduler_type: linear"),
    "optim": ("sgd", "optim: adamw_torch"),
    "weight_decay": (0.5, "weight_decay: 0.0"),
    "seed": (8, "seed: 7"),
    "bf16": (True, "bf16: False"),
    "disable_shuffling": (True, "disable_shuffling: False"),
    "use_dora": (True, "use_dora: False"),
    "dataset": ("more", "training data (hash): "),
    "max_samples": (9, "training data (hash): "),
    "dataset_dir": ("$other_data", "training data (hash): "),
    "model_name_or_path": ("$other_model", "base model (hash): "),
}
OWN = {
    "tl_sft": {"tl_use_mae": (True, "tl_use_mae: False"), "packing": (True, "training data (hash): ")},
    "tl_ppo": {"tl_critic": ("own", "tl_critic: shared"), "tl_max_new_tokens": (6, "tl_max_new_tokens: 4")},
}
CHANGES = [(method, name) for method in METHODS for name in OTHER | OWN[method]]
ALIKE: dict[str, Any] = {
    "logging_steps": 2,
    "save_steps": 3,
    "save_total_limit": 1,
    "report_to": "none",
    "max_steps": 5,
}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two runs of two steps, with what stands for names of places."""
    folder = tmp_path_factory.mktemp("begun")
    names = option_runs.make_world(folder)
    for method in METHODS:
        run_exp(options(names, method, folder / method, max_steps=2))
    return names | {"folder": str(folder)}


def options(names: dict[str, str], method: str, output: Path, **changes: Any) -> dict[str, Any]:
    places = {"model_name_or_path": names["model"], "dataset_dir": names["data"], "output_dir": str(output)}
    saving = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4}
    return option_runs.options_of(method, places | saving | changes)


def go_on(begun: dict[str, Any], method: str, output: Path, **changes: Any) -> None:
    shutil.copytree(Path(begun["folder"]) / method / "checkpoint-2", output / "checkpoint-2")
    changes = {name: begun[value[1:]] if str(value).startswith("$") else value for name, value in changes.items()}
    run_exp(options(begun, method, output, **changes))


@pytest.mark.parametrize(("method", "name"), CHANGES)
def test_another_option_is_refused_by_name(begun: dict[str, Any], method: str, name: str, tmp_path: Path) -> None:
    value, said = (OTHER | OWN[method])[name]
    with pytest.raises(CheckpointError) as caught:
        go_on(begun, method, tmp_path, **{name: value})
    assert f"checkpoint-2 was saved with {said}" in caught.value.message
    assert "to start anew choose another output_dir, or set overwrite_output_dir: true" in caught.value.message
    assert len(caught.value.message.splitlines()) == 1


@pytest.mark.parametrize("method", METHODS)
def test_a_checkpoint_that_is_named_is_no_other_case(begun: dict[str, Any], method: str, tmp_path: Path) -> None:
    named = str(Path(begun["folder"]) / method / "checkpoint-2")
    with pytest.raises(CheckpointError, match=r"with learning_rate: 0\.001; .* remove resume_from"):
        run_exp(options(begun, method, tmp_path, learning_rate=1e-2, resume_from_checkpoint=named))


@pytest.mark.parametrize("method", METHODS)
def test_what_shapes_nothing_may_change(begun: dict[str, Any], method: str, tmp_path: Path) -> None:
    more = {"tl_rollout_batch_size": 2, "tl_show_responses": 1} if method == "tl_ppo" else {"tl_skip_bad": True}
    go_on(begun, method, tmp_path, **ALIKE, **more)
    assert (tmp_path / "checkpoint-5").is_dir()


@pytest.mark.parametrize("method", METHODS)
def test_starting_anew_asks_for_nothing(begun: dict[str, Any], method: str, tmp_path: Path) -> None:
    go_on(begun, method, tmp_path, lora_rank=4, overwrite_output_dir=True)
    assert (tmp_path / "adapter_config.json").is_file()


def test_values_read_back_as_they_were_written() -> None:
    assert plain({"a": (1, None), "b": {"z", "y"}}) == {"a": [1, None], "b": ["y", "z"]}
    assert plain(Path("folder")) == "folder"


@pytest.mark.parametrize("way", ["adapter_name_or_path", "adapter_folder", "pissa_init"])
def test_a_base_that_is_made_when_it_is_loaded_is_known_by_its_files(way: str, tmp_path: Path) -> None:
    model, adapter = tmp_path / "model", tmp_path / "adapter"
    tiny.save_tiny_model(model)
    adapter.mkdir()
    weights = {"q_proj.lora_A.weight": torch.ones(2, 4)}
    save_file(weights, adapter / "adapter_model.safetensors")
    named = {
        "adapter_name_or_path": {"adapter_name_or_path": [str(adapter)], "adapter_folder": None},
        "adapter_folder": {"adapter_name_or_path": [str(tmp_path)], "adapter_folder": "adapter"},
        "pissa_init": {"adapter_name_or_path": None, "adapter_folder": None},
    }[way]

    def contents(base: str | Path) -> dict[str, Any]:
        model_args = SimpleNamespace(model_name_or_path=str(base), **named)
        return with_contents({"pissa_init": way == "pissa_init"}, "data", None, model_args, None)

    first = contents(model)
    assert first == contents(model)
    assert first == contents(model.rename(tmp_path / "elsewhere"))
    tiny.save_tiny_model(model, seed=1)
    assert differing_names(first, contents(model)) == ["base model's files (hash)"]
    save_file({"q_proj.lora_A.weight": torch.zeros(2, 4)}, adapter / "adapter_model.safetensors")
    also = [] if way == "pissa_init" else ["adapters' files (hash)"]
    assert differing_names(first, contents(model)) == ["base model's files (hash)", *also]
    assert "base model's files (hash)" not in contents("name/on-a-hub")


def differing_names(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name in one if one[name] != other[name]]
