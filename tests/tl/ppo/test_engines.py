"""PPO on engines that spread the model over two processes: what one process learns, saved, and resumed exactly."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

from forked import spread
from llamafactory_ext.errors import CheckpointError
from ppo_runs import ppo_options, steps, train, write_ppo_data

needs_deepspeed = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed: DS_BUILD_OPS=0 pip install it"
)
YAMLS = Path(__file__).parents[3] / "examples" / "yaml"


def read(name: str) -> dict[str, Any]:
    options: Any = OmegaConf.to_container(OmegaConf.load(YAMLS / f"{name}.yaml"))
    return options


FSDP = {name: read("distributed/tl_ppo_codellama_fsdp")[name] for name in ("fsdp", "fsdp_config")}
POLICIES: dict[str, dict[str, Any]] = {
    "full": {"finetuning_type": "full"},
    "lora": {"finetuning_type": "lora", "lora_rank": 4, "lora_target": "all", "tl_critic": "own"},
    "citi": {"finetuning_type": "citi", "disable_gradient_checkpointing": False},
}
NAMES = ("reward", "response_tokens", "kl", "policy_loss", "value_loss", "value", "part_vowels", "grad_norm")


def zero(stage: int) -> dict[str, Any]:
    """The shipped configuration, with a threshold of a tiny model and without streams, which a CPU has not."""
    config = json.loads((YAMLS.parent / "deepspeed" / f"zero{stage}.json").read_text("utf-8"))
    config["zero_optimization"] |= {"overlap_comm": False}
    if stage == 3:
        config["zero_optimization"] |= {"stage3_param_persistence_threshold": 64}
    return {"deepspeed": config}


class Places:
    """The model, the data, and where runs go."""

    def __init__(self, folder: Path, model: Path, adapter: Path) -> None:
        self.runs, self.model, self.adapter = folder, model, adapter
        self.data = write_ppo_data(folder / "data", 18)

    def options(self, policy: str, name: str, batch: int, **changes: Any) -> dict[str, Any]:
        """Greedy responses, three batches of eight, two passes over each; the checkpoint is within the second."""
        common: dict[str, Any] = {
            "per_device_train_batch_size": batch,
            "tl_temperature": 0,
            "tl_ppo_epochs": 2,
            "max_steps": 5,
            "save_strategy": "steps",
            "save_steps": 3,
            "adam_epsilon": 1e-3,
            "learning_rate": 5e-3,
            "eval_dataset": "held",
            "do_eval": True,
        } | POLICIES[policy]
        if policy == "citi":
            common["adapter_name_or_path"] = str(self.adapter)
        return ppo_options(self.model, self.data, self.runs / name, **(common | changes))


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, tiny_llama_dir: Path, tiny_adapter_dir: Path) -> Places:
    return Places(tmp_path_factory.mktemp("engines"), tiny_llama_dir, tiny_adapter_dir)


@pytest.fixture(scope="module")
def one(places: Places) -> dict[str, Path]:
    """Each policy's run on one process."""
    return {policy: train(places.options(policy, f"one_{policy}", 8)) for policy in POLICIES}


def spread_runs(places: Places, engines: dict[str, dict[str, Any]], **more: dict[str, Any]) -> None:
    """Each policy's run on two processes, and the same from its checkpoint on.

    Args:
        places: where everything is.
        engines: the options of each engine, for all policies or, as <engine>_<policy>, for one.
        more: other runs by name.
    """
    jobs = more
    for name, settings in engines.items():
        for policy in [name.partition("_")[2]] if "_" in name else POLICIES:
            folder = f"{name.partition('_')[0]}_{policy}"
            jobs[folder] = places.options(policy, folder, 4, **settings)
            again = {"resume_from_checkpoint": str(places.runs / folder / "checkpoint-3"), "do_eval": False}
            jobs[f"{folder}_again"] = places.options(policy, f"{folder}_again", 4, **settings, **again)
    (places.runs / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    script = Path(__file__).with_name("spread_ppo.py")
    result = spread(script, ["jobs.json"], places.runs, DS_ACCELERATOR="cpu")
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = folder.glob("*model.safetensors")
    return load_file(file)


def check(places: Places, one: dict[str, Path], name: str, *, spread: bool) -> None:
    """The run equals that of one process, its weights were spread as the engine says, and it was resumed exactly."""
    found, expected = places.runs / name, one[name.rpartition("_")[2]]
    for step, (ours, theirs) in enumerate(zip(steps(found), steps(expected), strict=True)):
        assert {key: ours[key] for key in NAMES if key in theirs} == pytest.approx(
            {key: theirs[key] for key in NAMES if key in theirs}, abs=1e-4
        ), step
    moved, right = weights(found), weights(expected)
    assert moved.keys() == right.keys()
    assert all(moved[key].dtype == right[key].dtype for key in right)
    assert all(torch.allclose(moved[key], right[key], atol=1e-4) for key in right)
    ours, theirs = (json.loads((folder / "eval_results.json").read_text("utf-8")) for folder in (found, expected))
    assert ours["eval_reward"] == pytest.approx(theirs["eval_reward"], abs=1e-4)
    away, count = json.loads((places.runs / f"{name}.json").read_text("utf-8"))
    assert (away == count) if spread else (away == 0)
    again = places.runs / f"{name}_again"
    assert [folder.name for folder in again.glob("checkpoint-*")] == ["checkpoint-5"]  # not begun anew
    assert [without_clock(entry) for entry in steps(again)] == [without_clock(entry) for entry in steps(found)]
    resumed = weights(again)
    assert all(torch.equal(resumed[key], moved[key]) for key in moved)


def without_clock(entry: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in entry.items() if "seconds" not in key}


@pytest.fixture(scope="module")
def fsdp(places: Places) -> Places:
    half = places.options("full", "half_full", 4, **FSDP, bf16=True, max_steps=1, do_eval=False)
    engines = {"fsdp": FSDP, "gradop_lora": FSDP | {"fsdp": "shard_grad_op auto_wrap"}}
    spread_runs(places, engines, half_full=half)
    return places


@pytest.fixture(scope="module")
def zeros(places: Places) -> Places:
    spread_runs(places, {"zero2": zero(2), "zero3": zero(3)})
    return places


@pytest.mark.parametrize("name", [*(f"fsdp_{policy}" for policy in POLICIES), "gradop_lora"])
def test_fsdp_learns_what_one_process_learns(one: dict[str, Path], fsdp: Places, name: str) -> None:
    check(fsdp, one, name, spread=True)


def test_a_checkpoint_of_an_engine_does_not_go_on_without_it(fsdp: Places) -> None:
    again = {"resume_from_checkpoint": str(fsdp.runs / "fsdp_full" / "checkpoint-3")}
    with pytest.raises(CheckpointError, match="saved under FSDP or DeepSpeed; set fsdp or deepspeed"):
        train(fsdp.options("full", "without", 8, **again))


def test_fsdp_in_16_bits_rounds_no_log_probabilities(one: dict[str, Path], fsdp: Places) -> None:
    """Rounded to bfloat16 they would be off by a hundredth, as the policy and as its reference."""
    first, exact = steps(fsdp.runs / "half_full")[0], steps(one["full"])[0]
    assert first["kl"] == pytest.approx(0, abs=1e-5)
    assert first["kl_update"] == pytest.approx(0, abs=1e-3)
    assert first["grad_norm"] == pytest.approx(exact["grad_norm"], rel=0.1)


@needs_deepspeed
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("stage", [2, 3])
def test_zero_learns_what_one_process_learns(one: dict[str, Path], zeros: Places, policy: str, stage: int) -> None:
    check(zeros, one, f"zero{stage}_{policy}", spread=stage == 3)


@pytest.mark.parametrize("name", sorted(file.stem for file in (YAMLS / "distributed").glob("tl_ppo_*.yaml")))
def test_every_yaml_is_the_papers_run_on_eight_gpus(name: str) -> None:
    """The same options as for one GPU but for the engine, which is one of those above; batches of eight."""
    ours, theirs = read(f"distributed/{name}"), read("tl_ppo_codellama")
    varying = {"gradient_accumulation_steps", "output_dir"}
    assert {key: ours[key] for key in theirs if key not in varying} == {
        key: value for key, value in theirs.items() if key not in varying
    }
    assert ours["per_device_train_batch_size"] * ours["gradient_accumulation_steps"] * 8 == 8
    assert ours["output_dir"] == f"saves/{name}"
    engine = {key: ours[key] for key in ours.keys() - theirs.keys()}
    assert engine in (FSDP, {"deepspeed": "examples/deepspeed/zero3.json"})
