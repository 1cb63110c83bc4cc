"""The YAML files of examples/yaml/etapp/ train on exported dialogues; calls that failed have no weight in tl_sft."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

import tiny
from etapp.acting import saying
from llamafactory_ext.etapp.checking import read_acted
from llamafactory_ext.etapp.export import Wanted, export
from llamafactory_ext.etapp.mini import load, load_gold
from llamafactory_ext.etapp.run import RunOptions, run
from runs import train

YAMLS = Path(__file__).parents[2] / "examples" / "yaml" / "etapp"
SOURCE, GOLD = load(), load_gold()
WRONG = ("control_light_in_home", {"action": "dim", "location": "kitchen"})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve gold dialogues, each behind a call that fails, and a few general records."""
    folder = tmp_path_factory.mktemp("data")

    def ask(case: Any, setting: Any, strategy: Any) -> Any:
        calls = [(call["name"], call["arguments"]) for call in GOLD[case.id]["calls"]]
        wrong = [WRONG] if "control_light_in_home" in case.given else []
        return saying([*wrong, *calls], GOLD[case.id]["answer"])

    path = run(SOURCE, SOURCE.cases[:12], ask, {}, RunOptions(quiet=True), folder / "p.jsonl")
    export(SOURCE, read_acted(SOURCE, path)[1], {}, Wanted(), folder / "etapp_sft.json", path)
    general = [
        {"instruction": f"Add {n} and 1.", "input": "", "output": str(n + 1), "mark": "general", "task": "math"}
        for n in range(8)
    ]
    (folder / "sums.json").write_text(json.dumps(general))
    info = json.loads((folder / "dataset_info.json").read_text())
    columns = {"prompt": "instruction", "query": "input", "response": "output", "mark": "mark", "task": "task"}
    info["sums"] = {"file_name": "sums.json", "columns": columns}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


@pytest.mark.parametrize("name", sorted(path.stem for path in YAMLS.glob("*.yaml")))
def test_a_file_trains(name: str, data: Path, tmp_path: Path) -> None:
    options: Any = OmegaConf.to_container(OmegaConf.load(YAMLS / f"{name}.yaml"))
    assert options["dataset"].startswith("etapp_sft")
    model = tiny.save_tiny_model(tmp_path / "model", "llama", layers=2, vocab_size=400)
    changes: dict[str, Any] = {
        "model_name_or_path": str(model),
        "dataset": "etapp_sft,sums" if "citi" in name else "etapp_sft",
        "dataset_dir": str(data),
        "output_dir": str(tmp_path / "out"),
        "cutoff_len": 4096,
        "max_samples": 6,
        "gradient_accumulation_steps": 2,
        "logging_steps": 1,
        "overwrite_cache": True,
        "preprocessing_num_workers": 1,
        "dataloader_num_workers": 0,
        "use_cpu": True,
        "bf16": False,
        "plot_loss": False,
    }
    if "citi" not in name:
        changes |= {"max_steps": 1}
    else:
        changes |= {"citi_importance_samples": 4, "citi_top_ratio": 0.3, "citi_bottom_ratio": 0.2}
    found = train(options | changes)
    saved = "model.safetensors" if options["finetuning_type"] == "full" else "adapter_model.safetensors"
    assert (found.path / saved).is_file()
    if name == "etapp_tl_sft":
        report = json.loads((found.path / "tl_report.json").read_text())
        assert "Tool Call Failure" in json.dumps(report)
