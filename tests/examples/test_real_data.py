"""The main job on real input: published tool and general data, the user's command, three phases, a checkpoint."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

import llamafactory_ext  # noqa: F401  # registers MOLoRA with PEFT
import tiny
from forked import run as run_process
from llamafactory_ext.data.public.convert import Request, convert
from runs import PHASES, Run

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("LLAMAFACTORY_EXT_SHARED", ROOT.parent / "shared")) / "data"
EMBEDDED = ROOT / "src" / "llamafactory_ext" / "lab" / "model"
SAMPLES = 16  # of each of the three data sets

pytestmark = pytest.mark.skipif(
    not (SHARED / "api_bank").is_dir(),
    reason="the published data is absent: set LLAMAFACTORY_EXT_SHARED to the folder that holds data/api_bank",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset_dir with API-Bank's level-3 training data, GSM8K and Alpaca."""
    folder = tmp_path_factory.mktemp("data")
    convert(Request("api_bank", SHARED / "api_bank" / "training-data", folder))
    convert(Request("gsm8k", SHARED / "gsm8k", folder))
    convert(Request("alpaca", SHARED / "llamafactory_demo" / "alpaca_en_demo.json", folder))
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model; a tiny random one where the repository holds none."""
    if (EMBEDDED / "config.json").is_file():
        return EMBEDDED
    return tiny.save_tiny_model(tmp_path_factory.mktemp("random") / "model")


@pytest.fixture(scope="module")
def log(data: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run `out` and of what the command printed, `train.log`."""
    folder = tmp_path_factory.mktemp("real_data")
    command = [
        "llamafactory-cli",
        "train",
        "examples/yaml/citi_tiny.yaml",
        "dataset=api_bank,gsm8k,alpaca",
        f"dataset_dir={data}",
        f"output_dir={folder / 'out'}",
        f"max_samples={SAMPLES}",
        "per_device_train_batch_size=8",
        "citi_importance_samples=16",
        "citi_report_samples=4",
        "logging_steps=1",
    ]
    if base != EMBEDDED:
        command.append(f"model_name_or_path={base}")
    result = run_process(command, ROOT, LLAMAFACTORY_VERBOSITY="INFO")
    (folder / "train.log").write_text(result.stdout + result.stderr, encoding="utf-8")
    assert result.returncode == 0, (result.stdout + result.stderr)[-6000:]
    return folder


def test_all_files_are_there(log: Path) -> None:
    run = Run(log / "out")
    for name in ("adapter_config", "importance", "selection", "report", "manifest"):
        assert run.json(f"{name}.json")
    for name in ("adapter_model.safetensors", "README.md", "importance.png", "training.png", "routers.png"):
        assert (run.path / name).stat().st_size > 1000, name
    tasks = run.json("importance.json")["tasks"]
    assert {name: (task["mark"], task["examples"]) for name, task in tasks.items()} == {
        "tool": ("tool", 16),
        "math": ("general", 16),
        "instructions": ("general", 16),
    }
    assert run.json("manifest.json")["plan"]["dataset"] == ["api_bank", "gsm8k", "alpaca"]


def test_the_log_shows_every_hand_over(log: Path) -> None:
    text = (log / "train.log").read_text("utf-8")
    lines = re.findall(r"Phase (\w+) \(([\w -]+)\), \S+ epochs? at \S+, trains ([^(]+)\(", text)
    assert [(name, title) for name, title, _ in lines] == [
        ("rp", "Router Pre-training"),
        ("mi", "MOLoRA Improvement"),
        ("uco", "Unimportant Components Optimization"),
    ]
    assert [re.findall(r"(\w+): [\d,]+ tensors", trains) for _, _, trains in lines] == [
        ["router"],
        ["router", "experts"],
        ["backbone"],
    ]
    assert "Before and after training, on training examples" in text
    assert f"Finished: the adapter is in {log / 'out'}." in text
    assert "Traceback" not in text


def test_losses_are_finite_and_fall(log: Path) -> None:
    run = Run(log / "out")
    steps: dict[str, list[dict[str, Any]]] = {phase: run.steps(phase) for phase in PHASES}
    per_epoch = 3 * SAMPLES // 8
    assert {phase: len(found) for phase, found in steps.items()} == {
        "rp": per_epoch,
        "mi": 2 * per_epoch,
        "uco": per_epoch,
    }
    for found in steps.values():
        for step in found:
            names = ("loss", "loss_router", "grad_norm", "learning_rate")
            assert all(math.isfinite(step[name]) for name in names), step
    losses = {phase: [step["loss_lm"] for step in steps[phase]] for phase in ("mi", "uco")}
    first, last = (sum(epoch) / per_epoch for epoch in (losses["mi"][:per_epoch], losses["mi"][per_epoch:]))
    assert last < first - 0.05
    assert sum(losses["uco"]) / per_epoch < first - 0.05
    report = run.json("report.json")
    assert report["after"]["tool"]["loss"] < report["before"]["tool"]["loss"]


def test_the_checkpoint_reloads_on_its_base(log: Path, base: Path, data: Path) -> None:
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), log / "out").eval()
    tokenizer = AutoTokenizer.from_pretrained(base)
    record = json.loads((data / "api_bank.json").read_text("utf-8"))[0]
    ids = tokenizer(record["instruction"] + record["input"] + record["output"], return_tensors="pt")["input_ids"][
        :, :300
    ]
    plain = AutoModelForCausalLM.from_pretrained(base).eval()
    with torch.no_grad():
        trained, untouched = model(input_ids=ids).logits, plain(input_ids=ids).logits
        with model.disable_adapter():
            assert torch.equal(model(input_ids=ids).logits, untouched)
    assert trained.isfinite().all()
    assert (trained - untouched).abs().max() > 1e-3
