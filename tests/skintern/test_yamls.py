"""Every YAML of SKIntern runs: the lab's on a few records, the paper's on a tiny model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llamafactory.train.tuner import run_exp
from omegaconf import OmegaConf

import tiny
from llamafactory_ext.skintern.options import BASELINES
from skintern.knowledge import write_knowledge

ROOT = Path(__file__).parents[2]
YAMLS = ROOT / "examples" / "yaml" / "skintern"
SMALL = {"max_steps": 1, "max_samples": 16, "report_to": "none", "plot_loss": False, "preprocessing_num_workers": 1}


def read(name: str) -> dict[str, Any]:
    options: Any = OmegaConf.to_container(OmegaConf.load(YAMLS / f"{name}.yaml"))
    return options


def test_no_yaml_is_left_out() -> None:
    rivals = {f"{name}_tiny" for name in BASELINES if name != "none"}
    assert {file.stem for file in YAMLS.glob("*.yaml")} == {"tiny", "tools_tiny", "bbh_tinyllama", *rivals}
    for name in rivals:
        assert f"{read(name)['skintern_baseline']}_tiny" == name


@pytest.mark.parametrize("name", [*sorted(file.stem for file in YAMLS.glob("*_tiny.yaml")), "tiny"])
def test_the_labs_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(ROOT)
    options = {**read(name), **SMALL, "output_dir": str(tmp_path / "out")}
    if name in ("std_restarts_tiny", "tools_tiny"):
        options["skintern_steps"] = 2
    if name != "tools_tiny":  # the others measure in the same way
        options.pop("skintern_measure", None)
    run_exp(options, [])
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()
    assert (tmp_path / "out" / "internalised.json").is_file() is (name == "tools_tiny")


def test_the_papers_yaml(tmp_path: Path) -> None:
    model = tiny.save_tiny_model(tmp_path / "model", vocab_size=400)
    own = {
        "model_name_or_path": str(model),
        "dataset": "knowledge",
        "dataset_dir": str(write_knowledge(tmp_path / "data", 16)),
        "output_dir": str(tmp_path / "out"),
        "per_device_train_batch_size": 4,
        "fp16": None,
        "use_cpu": True,
    }
    options = {**read("bbh_tinyllama"), **SMALL, **own}
    run_exp({name: value for name, value in options.items() if value is not None}, [])
    assert len(list((tmp_path / "out").glob("phase-*/adapter"))) == 4
