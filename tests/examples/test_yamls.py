"""Every YAML under examples/ runs: a real model's on a tiny one of its architecture, the lab's on a few examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

import tiny
from runs import train

YAMLS = Path(__file__).parents[2] / "examples" / "yaml"
ARCHITECTURES = {"citi_llama3": "llama", "citi_phi3": "phi3", "citi_mistral": "mistral"}
LAB = ("citi_tiny", "data_tiny", "lora_tiny", "full_tiny", "lora_mix_tiny", "full_mix_tiny")


def read(name: str) -> dict[str, Any]:
    options: Any = OmegaConf.to_container(OmegaConf.load(YAMLS / f"{name}.yaml"))
    return options


def test_no_yaml_is_left_out() -> None:
    """Those of TL-Training are tested in tests/tl."""
    files = {file.stem for file in YAMLS.glob("*.yaml")}
    assert {name for name in files if not name.startswith("tl_")} == {*ARCHITECTURES, *LAB}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_papers_settings_run_on_a_tiny_model_of_the_architecture(
    name: str, tmp_path: Path, tiny_data_dir: Path
) -> None:
    # Room for the special tokens that a template adds to the tiny tokenizer.
    model = tiny.save_tiny_model(tmp_path / "model", ARCHITECTURES[name], layers=3, vocab_size=400)
    options = read(name) | {
        "model_name_or_path": str(model),
        "dataset": "tiny",
        "dataset_dir": str(tiny_data_dir),
        "output_dir": str(tmp_path / "out"),
        "logging_steps": 1,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "overwrite_cache": True,
        "preprocessing_num_workers": 1,
        "dataloader_num_workers": 0,
        "use_cpu": True,
    }
    run = train(options)
    assert run.weights()
    assert [phase for phase in ("rp", "mi", "uco") if run.steps(phase)] == ["rp", "mi", "uco"]
    plan = run.json("manifest.json")["plan"]
    assert (plan["citi_top_ratio"], plan["citi_num_experts"], plan["citi_mi_lr"]) == (0.2, 4, 2e-4)


@pytest.mark.parametrize("name", LAB)
def test_the_labs_run_on_the_embedded_model(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(YAMLS.parents[1])
    options = read(name) | {
        "max_samples": 32,
        "output_dir": str(tmp_path / "out"),
        "citi_importance_samples" if name == "citi_tiny" else "num_train_epochs": 4 if name == "citi_tiny" else 1,
        "logging_steps": 1,
    }
    run = train(options)
    assert any((run.path / file).is_file() for file in ("adapter_model.safetensors", "model.safetensors"))
