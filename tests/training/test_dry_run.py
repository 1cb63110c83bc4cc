"""`dry_run: true` says what a run takes, beside the run itself, and leaves nothing behind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import mistake_runs
import mistake_world
import mistakes
import option_runs
from llamafactory_ext.lab.scale_page import MODELS
from llamafactory_ext.upstream.patches import other_gpus
from llamafactory_ext.upstream.patches.other_gpus import for_other_gpus

YAMLS = Path(__file__).parents[2] / "examples" / "yaml" / "distributed"
METHODS = ("citi", "tl_sft", "tl_ppo")
LONG = {"max_steps": None, "num_train_epochs": 2, "save_strategy": "steps", "save_steps": 3, "logging_steps": 1}
PHASES = {"citi": {"citi_rp_epochs": 1, "citi_mi_epochs": 2, "citi_uco_epochs": 1}}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    """Each method: estimated, run, and computed for eight GPUs from a folder without weights."""
    folder = tmp_path_factory.mktemp("dry")
    world = option_runs.make_world(folder)
    bare = mistake_world.copied(folder / "model", folder / "bare", "*.safetensors")
    cases = []
    keys = [(method, kind) for method in METHODS for kind in ("dry", "real", "computed")]
    for method, kind in keys:
        own = {"dry": {"dry_run": True}, "computed": {"dry_run": True, "dry_run_gpus": 8}}.get(kind, {})
        model = str(bare) if kind == "computed" else world["model"]
        places = {"model_name_or_path": model, "dataset_dir": world["data"], "output_dir": str(folder / method / kind)}
        options = {**option_runs.BASE, **mistakes.METHODS[method], **LONG, **PHASES.get(method, {}), **places, **own}
        path = folder / f"{method}_{kind}.yaml"
        path.write_text(yaml.safe_dump({name: value for name, value in options.items() if value is not None}))
        cases.append({"words": ["train", str(path)], "out": places["output_dir"]})
    (folder / "cases.json").write_text(json.dumps(cases))
    command = [sys.executable, mistake_runs.__file__, "cases.json", "results.json", "2"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip(keys, json.loads((folder / "results.json").read_text("utf-8")), strict=True))


ENGINES = {
    "citi_llama3_fsdp.yaml": "fsdp",
    "citi_llama3_zero2.yaml": "zero2",
    "citi_llama3_zero3.yaml": "zero3",
    "tl_ppo_codellama_fsdp.yaml": "fsdp",
}


@pytest.fixture(scope="module")
def distributed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The files for several GPUs, each estimated for 16 of them with the configuration of an 8B or a 70B model."""
    folder = tmp_path_factory.mktemp("large")
    world = option_runs.make_world(folder)
    cases = []
    for number, name in enumerate(ENGINES):
        large = mistake_world.copied(folder / "model", folder / f"large{number}", "*.safetensors")
        config = MODELS["70B" if number % 2 else "8B"].to_dict()
        (large / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaForCausalLM"]}))
        options = yaml.safe_load((YAMLS / name).read_text("utf-8"))
        options |= {"model_name_or_path": str(large), "dataset": "tiny", "dataset_dir": world["data"]}
        options |= {"template": "llama3", "preprocessing_num_workers": 1, "cutoff_len": 1024, "resize_vocab": False}
        options |= {"dry_run": True, "dry_run_gpus": 16, "output_dir": str(folder / "out"), "tl_skip_bad": True}
        if options.get("finetuning_type") == "citi":
            del options["tl_skip_bad"]
        if options.get("deepspeed"):
            options["deepspeed"] = str(YAMLS.parents[2] / options["deepspeed"])
        path = folder / name
        path.write_text(yaml.safe_dump(options))
        cases.append({"words": ["train", str(path)]})
    (folder / "cases.json").write_text(json.dumps(cases))
    command = [sys.executable, mistake_runs.__file__, "cases.json", "results.json", "2"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(zip(ENGINES, json.loads((folder / "results.json").read_text("utf-8")), strict=True))


@pytest.mark.parametrize("name", ENGINES)
def test_large_models_on_many_gpus_are_estimated_here(name: str, distributed: dict[str, dict[str, Any]]) -> None:
    """Without their engine, a GPU or a weight."""
    run = distributed[name]
    assert run["code"] == 0, run["printed"][-1500:]
    assert f"Dry run on 16 GPUs with {ENGINES[name]}: computed" in run["printed"]
    assert "A MODEL IS LOADED" not in run["printed"]


@pytest.mark.parametrize("engine", [{"deepspeed": "zero3.json"}, {"fsdp": "full_shard"}])
def test_an_engine_that_cannot_be_tried_here_is_computed(
    engine: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its package nor other processes are asked for; where both are there, the run itself is tried."""
    (tmp_path / "zero3.json").write_text('{"zero_optimization": {"stage": 3}}')
    monkeypatch.chdir(tmp_path)
    given = {"dry_run": True, "stage": "tl_sft", **engine}
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    plain, asked = for_other_gpus(given, given)
    assert plain == {"dry_run": True, "stage": "tl_sft", "use_cpu": True, "dry_run_gpus": 1}
    assert asked == ("fsdp" if "fsdp" in engine else "zero3")
    words = ["--dry_run", "True", *(f"--{name}={value}" for name, value in engine.items())]
    assert for_other_gpus(words, given) == (
        ["--dry_run", "True", "--use_cpu", "True", "--dry_run_gpus", "1"],
        asked,
    )
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(other_gpus, "find_spec", lambda _: object())
    assert for_other_gpus(given, given) == (given, None)
    monkeypatch.setattr(other_gpus, "find_spec", lambda _: None)
    assert (for_other_gpus(given, given)[1] is None) == ("fsdp" in engine)


@pytest.mark.parametrize(
    "given",
    [
        {"dry_run": True},
        {"dry_run": False, "fsdp": "full_shard"},
        {"fsdp": "full_shard", "dry_run_gpus": 8},
        {"dry_run": True, "deepspeed": "no/such.json"},
    ],
)
def test_other_commands_stay_as_they_are(given: dict[str, Any]) -> None:
    assert for_other_gpus(given, given) == (given, None)


def _steps(printed: str) -> dict[str, tuple[int, int]]:
    """Trained weights and steps of each phase in a table of an estimate."""
    rows = re.findall(r"^(\w+)\s+([\d,]+)\s+[\d,]+\s+([\d,]+)\s+[\d.e+-]+\s", printed, re.MULTILINE)
    return {name: (int(trained.replace(",", "")), int(steps.replace(",", ""))) for name, trained, steps in rows}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["dry", "computed"])
def test_nothing_is_left(method: str, kind: str, results: dict[tuple[str, str], dict[str, Any]]) -> None:
    run = results[method, kind]
    assert run["code"] == 0, run["printed"][-1500:]
    assert not Path(run["out"]).exists()
    assert ("A MODEL IS LOADED" in run["printed"]) == (kind == "dry")


@pytest.mark.parametrize("method", METHODS)
def test_steps_weights_and_disk_are_those_of_the_run(
    method: str, results: dict[tuple[str, str], dict[str, Any]]
) -> None:
    estimate, real = results[method, "dry"], results[method, "real"]
    assert real["code"] == 0, real["printed"][-1500:]
    found = _steps(estimate["printed"])
    assert found
    states = {path.parent: json.loads(path.read_text()) for path in Path(real["out"]).rglob("trainer_state.json")}
    for name, (_, steps) in found.items():
        tops = [
            state["global_step"]
            for folder, state in states.items()
            if "checkpoint" not in folder.name and (method != "citi" or folder.name.endswith(name))
        ]
        assert tops == [steps], name
    if method == "citi":
        for name, (trained, _) in found.items():
            line = next(line for line in real["printed"].splitlines() if f"Phase {name} " in line)
            parts = re.findall(r"([\d,]+) parameters", line)
            assert trained == sum(int(part.replace(",", "")) for part in parts)
    size, unit = re.findall(r"disk ([\d.]+) (MiB|GiB)", estimate["printed"])[-1]
    on_disk = sum(file.stat().st_size for file in Path(real["out"]).rglob("*") if file.is_file()) / 2**20
    assert unit == "MiB"
    assert float(size) == pytest.approx(on_disk, rel=0.3, abs=0.6)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_computed_says_so(method: str, results: dict[tuple[str, str], dict[str, Any]]) -> None:
    printed = results[method, "computed"]["printed"]
    assert "Dry run on 8 GPUs with ddp: computed from the model's configuration, not measured" in printed
    assert "GiB on each GPU" in printed
    names = {"citi": ("rp", "mi", "uco")}.get(method, (method,))
    for name in names:
        assert re.search(rf"^{name}\s+[\d,]+\s+\d+\s+[\d.]+", printed, re.MULTILINE), printed
    assert bool(re.search(r"^importance\s+-\s+-\s+[\d.]+\s+[\d.]+\s+-$", printed, re.MULTILINE)) == (method == "citi")
    assert ("h of importance and training" in printed) == (method == "citi")
