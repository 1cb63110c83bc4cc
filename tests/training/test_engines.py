"""CITI on engines that spread the model over processes: the same run, from the YAMLs under examples/."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

import tiny
from forked import spread
from llamafactory_ext.training.engines import engine_of
from runs import PHASES, Run, citi_options, train

YAMLS = Path(__file__).parents[2] / "examples" / "yaml" / "distributed"
ENGINES = {"citi_llama3_fsdp": "fsdp", "citi_llama3_zero2": "deepspeed", "citi_llama3_zero3": "deepspeed"}
needs_deepspeed = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed: DS_BUILD_OPS=0 pip install it"
)


def read(name: str) -> dict[str, Any]:
    options: Any = OmegaConf.to_container(OmegaConf.load(YAMLS / f"{name}.yaml"))
    return options


def engine_options(name: str) -> dict[str, Any]:
    """What the YAML says about its engine; configuration files by their full path, with thresholds of a tiny model."""
    options = {key: value for key, value in read(name).items() if key in ("fsdp", "fsdp_config", "deepspeed")}
    if "deepspeed" in options:
        config = json.loads((YAMLS.parents[2] / options["deepspeed"]).read_text("utf-8"))
        config["zero_optimization"] |= {"overlap_comm": False}  # needs streams, which a CPU has not
        if config["zero_optimization"]["stage"] == 3:
            config["zero_optimization"] |= {"stage3_param_persistence_threshold": 0}
        options["deepspeed"] = config
    return options


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("engines")
    return {
        "model": tiny.save_tiny_model(folder / "model"),
        "data": tiny.write_tiny_data(folder / "data", 32),
        "runs": folder,
    }


def options_of(places: dict[str, Path], name: str, batch: int, accumulate: int) -> dict[str, Any]:
    """Steps of eight examples, with a router loss that counts, an evaluation and a report."""
    return citi_options(
        places["model"],
        places["data"],
        places["runs"] / name,
        citi_router_beta=0.5,
        citi_report_samples=4,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulate,
        loraplus_lr_ratio=4,
        do_eval=True,
        val_size=4,
    )


@pytest.fixture(scope="module")
def one(places: dict[str, Path]) -> Run:
    """The run on one process, each step one batch."""
    return train(options_of(places, "one", 8, 1))


def spread_runs(places: dict[str, Path], names: list[str]) -> None:
    """Runs each on two processes, interrupted before phase uco and resumed."""
    jobs: dict[str, Any] = {}
    for name in names:
        options = options_of(places, name, 2, 2) | engine_options(name)
        jobs[f"{name}_begun"] = {"options": options, "interrupt": "uco"}
        jobs[name] = {"options": options}
    (places["runs"] / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    script = Path(__file__).with_name("spread_processes.py")
    result = spread(script, ["jobs.json"], places["runs"], DS_ACCELERATOR="cpu")
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]


@pytest.fixture(scope="module")
def fsdp(places: dict[str, Path]) -> Path:
    spread_runs(places, ["citi_llama3_fsdp"])
    return places["runs"]


@pytest.fixture(scope="module")
def zero(places: dict[str, Path]) -> Path:
    spread_runs(places, ["citi_llama3_zero2", "citi_llama3_zero3"])
    return places["runs"]


def check_equal(found: Run, expected: Run) -> None:
    """Losses, rates and weights; Router Pre-training on one process computes no language-model loss."""
    assert found.json("selection.json") == expected.json("selection.json")
    for phase in PHASES:
        names = ["loss_router", "learning_rate", "grad_norm", *(["loss_lm", "loss"] if phase != "rp" else [])]
        for step, (ours, theirs) in enumerate(zip(found.steps(phase), expected.steps(phase), strict=True)):
            for name in names:
                assert ours[name] == pytest.approx(theirs[name], abs=1e-4), (phase, step, name)
        ours, theirs = found.adapter(phase), expected.adapter(phase)
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert ours[name].dtype == torch.float32
            assert torch.allclose(ours[name], theirs[name], atol=1e-4), (phase, name)
    assert found.json("eval_results.json")["eval_loss"] == pytest.approx(
        expected.json("eval_results.json")["eval_loss"], abs=1e-4
    )


def check_spread(folder: Path, name: str, *, parameters: bool) -> None:
    """The run was resumed before uco, and its weights were spread as the engine says."""
    seen = json.loads((folder / f"{name}.json").read_text("utf-8"))
    assert "Resuming: phases rp, mi are complete." in seen["said"]
    (phase, (away, whole)), *others = seen["parts"].items()
    assert (phase, others) == ("uco", [])
    assert away == (whole if parameters else 0)


def test_fsdp_equals_one_process(one: Run, fsdp: Path) -> None:
    check_equal(Run(fsdp / "citi_llama3_fsdp"), one)
    check_spread(fsdp, "citi_llama3_fsdp", parameters=True)


@needs_deepspeed
@pytest.mark.parametrize("stage", [2, 3])
def test_zero_equals_one_process(one: Run, zero: Path, stage: int) -> None:
    check_equal(Run(zero / f"citi_llama3_zero{stage}"), one)
    check_spread(zero, f"citi_llama3_zero{stage}", parameters=stage == 3)


def test_lora_plus_raises_the_rate_of_b_in_phase_mi_only(one: Run, places: dict[str, Path], tmp_path: Path) -> None:
    options = options_of(places, "plain", 8, 1) | {"output_dir": str(tmp_path), "loraplus_lr_ratio": None}
    plain = train(options | {"citi_phases": "rp,mi", "citi_mi_epochs": 0.25, "do_eval": False})
    fast = train(
        options
        | {"citi_phases": "rp,mi", "citi_mi_epochs": 0.25, "do_eval": False, "loraplus_lr_ratio": 4}
        | {"output_dir": str(tmp_path / "fast")}
    )
    assert torch.equal(routers(plain.adapter("rp")), routers(fast.adapter("rp")))
    for name, weight in plain.adapter("mi").items():
        # One Adam step from zero moves B by the learning rate; everything else as without.
        if ".molora_B." in name:
            assert torch.allclose(fast.adapter("mi")[name], 4 * weight, rtol=1e-3, atol=1e-6)


def routers(weights: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([weight.flatten() for name, weight in sorted(weights.items()) if ".molora_router." in name])


@pytest.mark.parametrize("name", sorted(file.stem for file in YAMLS.glob("citi_*.yaml")))
def test_every_yaml_is_the_papers_run_on_several_gpus(name: str) -> None:
    """The same options as for one GPU but for the engine, and steps of 64 examples."""
    ours = read(name)
    theirs: Any = OmegaConf.to_container(OmegaConf.load(YAMLS.parent / "citi_llama3.yaml"))
    varying = {"gradient_accumulation_steps", "output_dir"}
    assert {key: ours[key] for key in theirs if key not in varying} == {
        key: value for key, value in theirs.items() if key not in varying
    }
    gpus = 16 if "multinode" in name else 8
    assert ours["per_device_train_batch_size"] * ours["gradient_accumulation_steps"] * gpus == 64
    assert ours["output_dir"] == f"saves/{name}"
    if "deepspeed" in ours:
        config = json.loads((YAMLS.parents[2] / ours["deepspeed"]).read_text("utf-8"))
        assert not {"optimizer", "scheduler"} & config.keys()
    assert (ours.get("fsdp_config") or {"version": 2})["version"] == 2


@pytest.mark.parametrize("name", ENGINES)
def test_the_engine_is_what_the_yaml_asks_for(name: str) -> None:
    class Arguments:
        deepspeed = read(name).get("deepspeed")
        fsdp = read(name).get("fsdp")

    assert engine_of(Arguments) == ENGINES[name]
