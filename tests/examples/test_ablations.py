"""The YAMLs of the paper's baselines and ablations: its settings, and each runs on a tiny model.

They run within this process and share one importance file; tests/examples/test_table.py gives real commands.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

import tiny
from llamafactory_ext.options.groups import RULES
from llamafactory_ext.options.values import check_values
from runs import train

FOLDER = Path(__file__).parents[2] / "examples" / "yaml" / "ablations" / "llama3"
TOOL, MIXED = "api_bank", "api_bank,code_alpaca,metamath,triviaqa,alpaca_gpt4"
FT = {"finetuning_type": "full", "learning_rate": 2e-5, "num_train_epochs": 2}
LORA = {"finetuning_type": "lora", "lora_target": "all", "lora_rank": 16, "lora_alpha": 16}
LORA |= {"learning_rate": 2e-4, "num_train_epochs": 2}
COMPONENTS = {"citi_phases": "mi", "citi_top_ratio": 0.2, "citi_importance_samples": 3000}
R32 = COMPONENTS | {"citi_adapter": "lora", "citi_rank": 32, "citi_alpha": 32, "citi_mi_epochs": 2, "citi_mi_lr": 2e-4}
FULL = COMPONENTS | {"citi_adapter": "full", "citi_mi_epochs": 1, "citi_mi_lr": 2e-5}
# Settings by file; what is not named here are the paper's values for CITI itself, tested in tests/data.
PAPER: dict[str, dict[str, Any]] = {
    "ft": FT | {"dataset": TOOL},
    "lora": LORA | {"dataset": TOOL},
    "ft_dm": FT,
    "lora_dm": LORA,
    "uco": {"citi_phases": "uco", "citi_bottom_ratio": 0.1, "citi_uco_epochs": 1, "citi_uco_lr": 2e-5},
    "rp_mi": {"citi_phases": "rp,mi", "citi_num_experts": 4, "citi_rank": 8, "citi_alpha": 2, "citi_rp_lr": 2e-4},
    "without_rp": {"citi_phases": "mi,uco", "citi_router_beta": 0.01, "citi_mi_lr": 2e-4, "citi_uco_lr": 2e-5},
    "without_molora": {"citi_phases": "mi,uco", "citi_adapter": "lora", "citi_rank": 32, "citi_alpha": 32},
    "without_router_loss": {"citi_phases": "mi,uco", "citi_router_beta": 0, "citi_router_neutral": False},
    "lora_top": R32 | {"citi_select": "top"},
    "lora_bottom": R32 | {"citi_select": "bottom"},
    "lora_random": R32 | {"citi_select": "random"},
    "full_top": FULL | {"citi_select": "top"},
    "full_bottom": FULL | {"citi_select": "bottom"},
    "full_random": FULL | {"citi_select": "random"},
}
# 21 linears: 20 % and 10 % rounded down, or all.
ADAPTED, TUNED = 4, 2


def read(name: str) -> dict[str, Any]:
    options: Any = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{name}.yaml"))
    return options


def test_no_file_is_left_out() -> None:
    assert {file.stem for file in FOLDER.glob("*")} == set(PAPER)


@pytest.mark.parametrize("name", PAPER)
def test_the_settings_are_the_papers(name: str) -> None:
    options = read(name)
    expected = {"dataset": MIXED, "finetuning_type": "citi", "stage": "sft"} | PAPER[name]
    assert {key: options[key] for key in expected} == expected
    assert options["per_device_train_batch_size"] * options["gradient_accumulation_steps"] == 64
    assert options["model_name_or_path"] == "meta-llama/Meta-Llama-3-8B-Instruct"
    assert options["output_dir"] == f"saves/llama3/{name}"
    assert check_values({key: value for key, value in options.items() if key.startswith("citi_")}, RULES)[1] == []
    assert f"`{name}`" in (FOLDER.parents[2] / "README.md").read_text("utf-8")
    text = (FOLDER / f"{name}.yaml").read_text("utf-8")
    assert f"llamafactory-cli train examples/yaml/ablations/llama3/{name}.yaml" in text


@pytest.fixture(scope="module")
def small(tiny_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Overrides that make a run small, the same for every row."""
    folder = tmp_path_factory.mktemp("ablations")
    model = tiny.save_tiny_model(folder / "model", layers=3, vocab_size=400)
    return {
        "model_name_or_path": str(model),
        "dataset": "tiny",
        "dataset_dir": str(tiny_data_dir),
        "logging_steps": 1,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "max_steps": 2,
        "overwrite_cache": True,
        "plot_loss": False,
        "preprocessing_num_workers": 1,
        "use_cpu": True,
    }


@pytest.fixture(scope="module")
def importance(small: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("importance")
    options = read("rp_mi") | small | {"output_dir": str(folder), "max_steps": 1, "citi_report_samples": 0}
    train(options | {"citi_importance_samples": 6, "citi_phases": "rp"})
    return folder / "importance.json"


@pytest.mark.parametrize("name", [name for name in PAPER if "finetuning_type" in PAPER[name]])
def test_a_baseline_runs(name: str, small: dict[str, Any], tmp_path: Path) -> None:
    train(read(name) | small | {"output_dir": str(tmp_path)})
    history = json.loads((tmp_path / "trainer_state.json").read_text("utf-8"))["log_history"]
    assert len([entry for entry in history if "loss" in entry]) == 2
    if name.startswith("ft"):
        assert (tmp_path / "model.safetensors").is_file()
    else:
        config = json.loads((tmp_path / "adapter_config.json").read_text("utf-8"))
        assert (config["r"], config["lora_alpha"], len(config["target_modules"])) == (16, 16, 7)


@pytest.mark.parametrize("name", [name for name in PAPER if "finetuning_type" not in PAPER[name]])
def test_an_ablation_runs(name: str, small: dict[str, Any], importance: Path, tmp_path: Path) -> None:
    changes = {"output_dir": str(tmp_path), "citi_report_samples": 0, "citi_importance_load": str(importance)}
    run = train(read(name) | small | changes)
    phases = PAPER[name]["citi_phases"].split(",")
    assert [len(run.steps(phase)) for phase in phases] == [2] * len(phases)
    assert len(list(run.path.glob("phase-*"))) == len(phases)
    selection, config = run.json("selection.json"), run.json("adapter_config.json")
    assert len(selection["adapted"]) == ADAPTED
    assert len(selection["tuned"]) == (TUNED if "uco" in phases else 0)
    kind = PAPER[name].get("citi_adapter", "molora")
    assert config["peft_type"] == ("MOLORA" if kind == "molora" else "LORA")
    whole = selection["adapted"] if kind == "full" else selection["tuned"]
    assert sorted(config["modules_to_save"] or []) == sorted(whole)
    if kind == "lora":
        assert (config["r"], config["lora_alpha"]) == (32, 32)
    if kind == "molora":
        router = next(weight for key, weight in run.weights().items() if "molora_router" in key)
        assert len(router) == (4 if name == "without_router_loss" else 5)
