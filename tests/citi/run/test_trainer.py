"""Losses do not depend on how a step is cut up, and reach the routers under every kind of checkpointing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, TrainerCallback
from transformers.modeling_layers import GradientCheckpointingLayer

import tiny
from forked import spread
from llamafactory_ext.citi.router_loss import SCOPES
from llamafactory_ext.citi.run.trainer import CitiTrainer
from runs import PHASES, Run, citi_options, equal, phase_of, train
from sampling import pairs

LOGGED = ("loss", "loss_lm", "loss_router", "gate0_general", "gate0_tool")
CUTS = {"8x1": (8, 1), "2x4": (2, 4), "1x8": (1, 8)}


def logged(phase: str) -> tuple[str, ...]:
    """Router Pre-training needs no language-model loss and computes none."""
    return tuple(name for name in LOGGED if (phase, name) != ("rp", "loss_lm"))


def step_options(model: Path, data: Path, output: Path, scope: str, batch: int, accumulate: int) -> dict[str, Any]:
    """Steps of eight examples, with a router loss that counts."""
    return citi_options(
        model,
        data,
        output,
        citi_router_scope=scope,
        citi_router_beta=0.5,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulate,
    )


def check_same_steps(found: Run, expected: Run) -> None:
    for phase in PHASES:
        pairs = list(zip(found.steps(phase), expected.steps(phase), strict=True))
        assert len(pairs) == {"rp": 4, "mi": 8, "uco": 4}[phase]
        for step, (one, other) in enumerate(pairs):
            for name in logged(phase):
                assert one[name] == pytest.approx(other[name], abs=1e-5), (phase, step, name)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_tiny_data(tmp_path_factory.mktemp("data"), 32)


@pytest.fixture(scope="module")
def whole(tiny_llama_dir: Path, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Per scope: each step one batch on one process."""
    folder = tmp_path_factory.mktemp("whole")
    return {
        scope: train(step_options(tiny_llama_dir, data_dir, folder / scope, scope, *CUTS["8x1"])) for scope in SCOPES
    }


@pytest.mark.parametrize(("scope", "cut"), pairs(SCOPES, ("2x4", "1x8")))
def test_accumulation_changes_nothing(
    whole: dict[str, Run], tiny_llama_dir: Path, data_dir: Path, tmp_path: Path, scope: str, cut: str
) -> None:
    run = train(step_options(tiny_llama_dir, data_dir, tmp_path, scope, *CUTS[cut]))
    check_same_steps(run, whole[scope])
    assert run.json("selection.json") == whole[scope].json("selection.json")


def test_the_scopes_differ(whole: dict[str, Run]) -> None:
    first = [whole[scope].steps("rp")[0]["loss_router"] for scope in SCOPES]
    assert len({round(value, 4) for value in first}) == 3
    assert len({round(whole[scope].steps("mi")[0]["loss_lm"], 3) for scope in SCOPES}) == 1


def test_micro_batches_alone_are_another_router_loss(
    whole: dict[str, Run], tiny_llama_dir: Path, data_dir: Path, tmp_path: Path
) -> None:
    """citi_router_window: micro takes the variance within each micro-batch: the language-model loss stays."""
    options = step_options(tiny_llama_dir, data_dir, tmp_path, "batch", *CUTS["1x8"])
    run = train(options | {"citi_router_window": "micro", "citi_phases": "rp,mi"})
    for phase in ("rp", "mi"):
        found, expected = run.steps(phase)[0], whole["batch"].steps(phase)[0]
        assert found.get("loss_lm", 0) == pytest.approx(expected.get("loss_lm", 0), abs=1e-5)
        assert abs(found["loss_router"] - expected["loss_router"]) > 1e-3


@pytest.mark.parametrize(("scope", "window"), pairs(SCOPES, ("step", "micro")))
def test_routers_pretrained_by_forward_passes_are_those_of_backpropagation(
    tiny_llama_dir: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: str, window: str
) -> None:
    def routers_of(name: str) -> tuple[torch.Tensor, list[float]]:
        options = step_options(tiny_llama_dir, data_dir, tmp_path / name, scope, *CUTS["2x4"])
        run = train(options | {"citi_router_window": window, "citi_phases": "rp"})
        return routers(run.adapter("rp")), [step["loss_router"] for step in run.steps("rp")]

    forward_only = routers_of("forward")
    monkeypatch.setattr(CitiTrainer, "_only_routers_learn", lambda self, model: False)
    expected = routers_of("backward")
    assert torch.allclose(forward_only[0], expected[0], atol=1e-5)
    assert forward_only[1] == pytest.approx(expected[1], abs=1e-6)


# Two processes


@pytest.fixture(scope="module")
def two_processes(tiny_llama_dir: Path, data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `two_processes.py`'s results: runs per scope, importance in float64."""
    folder = tmp_path_factory.mktemp("two")
    jobs = {scope: step_options(tiny_llama_dir, data_dir, folder / scope, scope, 2, 2) for scope in SCOPES}
    (folder / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    script = Path(__file__).with_name("two_processes.py")
    result = spread(script, ["jobs.json"], folder)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return folder


@pytest.mark.parametrize("scope", SCOPES)
def test_two_processes_equal_one(whole: dict[str, Run], two_processes: Path, scope: str) -> None:
    run = Run(two_processes / scope)
    check_same_steps(run, whole[scope])
    assert run.json("selection.json") == whole[scope].json("selection.json")


def test_importance_is_the_same_on_two_processes(two_processes: Path) -> None:
    """In float64, where only rounding of a different order of sums is left."""
    one, two = (json.loads((two_processes / f"scores_{world}.json").read_text("utf-8")) for world in (1, 2))
    assert one.keys() == two.keys() == {"tool", "math", "instructions"}
    for task in one:
        assert two[task] == pytest.approx(one[task], rel=1e-9, abs=1e-12), task


# Checkpointing of activations

NON_REENTRANT = {"use_reentrant": False}
CHECKPOINTING: dict[str, dict[str, bool]] = {
    "on": {},
    "off": {"disable_gradient_checkpointing": True},
}


class Checkpointing(TrainerCallback):
    """Which layers are recomputed."""

    def __init__(self) -> None:
        self.found: dict[str, list[bool]] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
        functions = [getattr(layer, "_gradient_checkpointing_func", None) for layer in layers]
        self.found[phase_of(args)] = [getattr(function, "keywords", {}) == NON_REENTRANT for function in functions]


@pytest.fixture(scope="module")
def checkpointed(
    tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Run]:
    """Router and experts trained under each kind of checkpointing, and once without a router loss."""
    folder, runs = tmp_path_factory.mktemp("checkpointing"), {}
    common = {"citi_phases": "rp,mi", "citi_mi_epochs": 1, "citi_router_beta": 0.5}
    for name, settings in CHECKPOINTING.items():
        seen = Checkpointing()
        options = citi_options(tiny_llama_dir, tiny_data_dir, folder / name, **common)
        runs[name] = train(options | settings, seen)
        assert [any(layers) for layers in seen.found.values()] == [name == "on"] * 2
    options = citi_options(tiny_llama_dir, tiny_data_dir, folder / "none", **common)
    runs["no router loss"] = train(options | {"citi_router_beta": 0})
    return runs


def routers(weights: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([weight.flatten() for name, weight in sorted(weights.items()) if ".molora_router." in name])


@pytest.mark.parametrize("phase", ["rp", "mi"])
def test_the_router_loss_reaches_the_routers(checkpointed: dict[str, Run], phase: str) -> None:
    trained = {name: routers(run.adapter(phase)) for name, run in checkpointed.items()}
    assert torch.allclose(trained["on"], trained["off"], atol=1e-5)
    assert (trained["on"] - trained["no router loss"]).abs().mean() > 1e-3


def test_without_router_loss_pretraining_moves_nothing(checkpointed: dict[str, Run]) -> None:
    """With B = 0 the experts are silent: only the router loss has a gradient in phase rp."""
    first = checkpointed["no router loss"].steps("rp")
    assert all(step["grad_norm"] == 0 for step in first)
    assert all(step["grad_norm"] > 0 for step in checkpointed["on"].steps("rp"))


# What is logged and kept


class Reported(TrainerCallback):
    """Stands where TensorBoard, W&B or SwanLab do."""

    def __init__(self) -> None:
        self.names: dict[str, set[str]] = {}
        self.rates: dict[str, list[float]] = {}

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        phase = phase_of(args)
        self.names.setdefault(phase, set()).update(logs)
        if f"{phase}/learning_rate" in logs:
            self.rates.setdefault(phase, []).append(logs[f"{phase}/learning_rate"])


def test_reporters_see_phases_losses_gates_and_rates(
    tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path
) -> None:
    reported = Reported()
    options = citi_options(tiny_llama_dir, tiny_data_dir, tmp_path, val_size=2, eval_strategy="epoch")
    train(options, reported)
    for phase in PHASES:
        expected = {f"{phase}/{name}" for name in (*logged(phase), "grad_norm", "learning_rate", "epoch")}
        assert expected <= reported.names[phase]
        assert f"eval_{phase}/loss" in reported.names[phase]
        assert {name.partition("/")[0] for name in reported.names[phase]} == {phase, f"eval_{phase}"}
    peaks = {phase: max(rates) for phase, rates in reported.rates.items()}
    assert peaks == pytest.approx({"rp": 1e-2, "mi": 1e-2, "uco": 1e-3})
    assert all(rates == sorted(rates, reverse=True) for rates in reported.rates.values())


def test_the_language_model_loss_is_the_mean_over_trained_tokens(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """The first step of a fresh adapter has the base's loss, computed here by transformers alone."""
    data = tiny.write_tiny_data(tmp_path / "data", 4)
    options = citi_options(tiny_llama_dir, data, tmp_path / "run", per_device_train_batch_size=2)
    run = train(options | {"gradient_accumulation_steps": 2, "citi_phases": "mi"})
    tokenizer, model = tiny.tiny_tokenizer(), AutoModelForCausalLM.from_pretrained(tiny_llama_dir).eval()
    total = tokens = 0.0
    for record in tiny.tiny_records(4):
        question = [{"role": "user", "content": record["instruction"]}]
        asked = tokenizer.apply_chat_template(question, add_generation_prompt=True, tokenize=False)
        prompt = tokenizer(asked, add_special_tokens=False)["input_ids"]
        answer = tokenizer(record["output"] + "<|eot_id|>", add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
        total += torch.nn.functional.cross_entropy(logits, torch.tensor(answer), reduction="sum").item()
        tokens += len(answer)
    assert run.steps("mi")[0]["loss_lm"] == pytest.approx(total / tokens, abs=1e-5)


def test_only_the_newest_checkpoints_stay(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path) -> None:
    options = citi_options(tiny_llama_dir, tiny_data_dir, tmp_path, save_strategy="steps", save_steps=2)
    run = train(options | {"save_total_limit": 2, "citi_phases": "rp,mi"})
    for phase, kept in (("rp", ["checkpoint-6", "checkpoint-8"]), ("mi", ["checkpoint-14", "checkpoint-16"])):
        found = sorted(run.folder(phase).glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
        assert [path.name for path in found] == kept
        assert all((path / "complete.json").is_file() for path in found)
    assert equal(run.adapter("mi"), run.weights())
