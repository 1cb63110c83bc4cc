"""The files for several GPUs, machines and Ray hold options that LLaMA-Factory has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from llamafactory.hparams import get_ray_args
from llamafactory.hparams.parser import _parse_train_args
from omegaconf import OmegaConf

FOLDER = Path(__file__).parents[2] / "examples" / "yaml" / "distributed"


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_every_option_is_known(name: str, tiny_llama_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER.parents[2])
    options: Any = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{name}.yaml"))
    engine = {key: options.pop(key) for key in ("deepspeed", "fsdp", "fsdp_config") if key in options}
    changes = {"use_cpu": True, "bf16": False, "model_name_or_path": str(tiny_llama_dir)}
    changes["dataset_dir"] = "ONLINE"  # their data has to be converted first, and is looked for at the start
    groups = _parse_train_args(options | changes)
    assert len(groups) == 5
    assert all(not str(path).endswith(".json") or Path(path).is_file() for path in engine.values())
    assert get_ray_args(options).ray_num_workers == options.get("ray_num_workers", 1)
