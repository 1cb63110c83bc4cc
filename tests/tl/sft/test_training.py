"""Whole runs of `stage: tl_sft` through upstream's `run_exp`: loss, normalisation, every way to train, resuming."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from llamafactory.train.tuner import run_exp
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, TrainerCallback

import tiny
from forked import spread
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.training.losses import summed_nll
from llamafactory_ext.training.token_weights import WEIGHTS_COLUMN, weights_of
from processes import train_options
from tl.trajectories import call, record, records, turn, write_data

PLAIN = {"tl_use_mae": False, "tl_use_pkt": False}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 trajectories, read-only."""
    return write_data(tmp_path_factory.mktemp("trajectories"), records(24))


@pytest.fixture
def options(tiny_llama_dir: Path, data: Path, tmp_path: Path) -> dict[str, Any]:
    return sft_options(tiny_llama_dir, data, tmp_path / "out")


def sft_options(model: Path, data: Path, output: Path, **changes: Any) -> dict[str, Any]:
    """Three steps of eight trajectories, plain SGD so that weights show the gradients."""
    settings = {
        "stage": "tl_sft",
        "finetuning_type": "full",
        "dataset": "trajectories",
        "template": "llama3_api_bank",
        "cutoff_len": 1024,
        "per_device_train_batch_size": 8,
        "max_steps": 3,
        "optim": "sgd",
        "learning_rate": 0.02,
        "max_grad_norm": 1e6,
        "lr_scheduler_type": "constant",
        "save_strategy": "no",
        "overwrite_cache": True,
        "disable_gradient_checkpointing": True,
        "seed": 7,
    }
    return train_options(model, data, output, **(settings | changes))


def train(options: dict[str, Any], *callbacks: TrainerCallback) -> dict[str, Tensor]:
    """The finished weights."""
    run_exp(options, list(callbacks))
    folder = Path(options["output_dir"])
    return load_file(next(folder / name for name in WEIGHTS if (folder / name).is_file()))


WEIGHTS = ("adapter_model.safetensors", "model.safetensors")


def losses(options: dict[str, Any]) -> list[float]:
    state = json.loads((Path(options["output_dir"]) / "trainer_state.json").read_text("utf-8"))
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().max().item() for name in one)


def moved(weights: dict[str, Tensor], model: Path) -> float:
    return difference(weights, load_file(model / "model.safetensors"))


# The loss


@pytest.mark.parametrize("packed", [False, True])
def test_unit_weights_are_upstreams_own_training(options: dict[str, Any], packed: bool, tiny_llama_dir: Path) -> None:
    if packed:
        options |= {"packing": True, "neat_packing": True, "cutoff_len": 2048, "per_device_train_batch_size": 2}
    ours = train(options | PLAIN)
    theirs_options = options | {"stage": "sft", "output_dir": options["output_dir"] + "_upstream"}
    theirs = train(theirs_options)
    assert losses(options) == pytest.approx(losses(theirs_options), abs=1e-5)
    assert difference(ours, theirs) < 1e-6
    assert moved(ours, tiny_llama_dir) > 1e-3


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_smoothed_labels_are_upstreams_own(options: dict[str, Any], kind: str) -> None:
    options |= {"label_smoothing_factor": 0.3, "finetuning_type": kind, "val_size": 0.25, "do_eval": True}
    theirs_options = options | {"stage": "sft", "output_dir": options["output_dir"] + "_upstream"}
    assert difference(train(options | PLAIN), train(theirs_options)) < 1e-6
    assert losses(options) == pytest.approx(losses(theirs_options), abs=1e-5)
    found, wanted = (
        json.loads((Path(each["output_dir"]) / "eval_results.json").read_text("utf-8"))["eval_loss"]
        for each in (options, theirs_options)
    )
    assert found == pytest.approx(wanted, abs=1e-5)


class Batches(TrainerCallback):
    """The first batch of the run, as the trainer gets it."""

    def __init__(self) -> None:
        self.first: dict[str, Tensor] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **_: Any) -> None:
        self.first = {name: value.clone() for name, value in next(iter(train_dataloader)).items()}


def test_the_loss_is_the_weighted_mean_computed_here_by_transformers_alone(
    options: dict[str, Any], tiny_llama_dir: Path
) -> None:
    batches = Batches()
    train(options | {"max_steps": 1, "disable_shuffling": True}, batches)
    batch, model = batches.first, AutoModelForCausalLM.from_pretrained(tiny_llama_dir).eval()
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    nll = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["labels"][:, 1:].flatten(), reduction="none")
    weights = weights_of(batch[WEIGHTS_COLUMN])[:, 1:].flatten()
    assert weights.max() > 2
    assert losses(options) == [pytest.approx((nll * weights).sum().item() / weights.sum().item(), abs=1e-5)]


def test_zero_weights_have_no_gradient() -> None:
    model, ids = tiny.tiny_model(), torch.arange(12)[None]
    head = model.get_output_embeddings()
    for deferred in (head, None):
        states = torch.randn(1, 12, head.in_features if deferred else head.out_features, requires_grad=True)
        summed_nll(states, ids, deferred, weights_BT=torch.zeros(1, 12)).backward()
        assert not states.grad.any()
        silent = torch.ones(1, 12)
        silent[0, 5] = 0
        states.grad = None
        summed_nll(states, ids, deferred, weights_BT=silent).backward()
        assert [bool(row.any()) for row in states.grad[0]] == [place not in (4, 11) for place in range(12)]


def test_a_step_of_nothing_but_errors_moves_nothing(tiny_llama_dir: Path, tmp_path: Path) -> None:
    wrong = record(
        turn("human", "?"),
        call("get_sun"),
        turn("observation", '{"error": "There is no such tool."}'),
        {**turn("gpt", ""), "loss": False},
    )
    write_data(tmp_path / "data", [wrong] * 8)
    options = sft_options(tiny_llama_dir, tmp_path / "data", tmp_path / "out", max_steps=1)
    weights = train(options)
    assert losses(options)[0] == 0
    assert moved(weights, tiny_llama_dir) == 0


# Normalisation


@pytest.fixture(scope="module")
def whole(tiny_llama_dir: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """8 x 1 on one process."""
    return train(sft_options(tiny_llama_dir, data, tmp_path_factory.mktemp("whole")))


def test_accumulation_does_not_matter(options: dict[str, Any], whole: dict[str, Tensor], tiny_llama_dir: Path) -> None:
    split = train(options | {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8})
    assert difference(split, whole) < 1e-5
    assert moved(whole, tiny_llama_dir) > 1e-3


def test_two_processes_do_not_matter(options: dict[str, Any], whole: dict[str, Tensor], tmp_path: Path) -> None:
    """Both with and without DDP's search for unused parameters, which a deferred head would confuse."""
    jobs = []
    for name, changes in {"plain": {}, "unused": {"ddp_find_unused_parameters": True}}.items():
        jobs.append(options | changes | {"output_dir": str(tmp_path / name), "per_device_train_batch_size": 2})
        jobs[-1] |= {"gradient_accumulation_steps": 2, "ddp_find_unused_parameters": changes != {}}
    (tmp_path / "jobs.json").write_text(json.dumps(jobs), encoding="utf-8")
    script = Path(__file__).with_name("two_processes.py")
    result = spread(script, [str(tmp_path / "jobs.json")], tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    for job in jobs:
        assert difference(load_file(Path(job["output_dir"]) / "model.safetensors"), whole) < 1e-5


# Ways to train


def test_gradient_checkpointing_does_not_matter(options: dict[str, Any], whole: dict[str, Tensor]) -> None:
    assert difference(train(options | {"disable_gradient_checkpointing": False}), whole) < 1e-6


@pytest.mark.parametrize("kind", ["lora", "freeze"])
def test_other_ways_to_tune(options: dict[str, Any], kind: str, tiny_llama_dir: Path) -> None:
    settings = {"lora": {"lora_rank": 4}, "freeze": {"freeze_trainable_layers": 1}}[kind]
    weights = train(options | settings | {"finetuning_type": kind, "learning_rate": 0.5})
    if kind == "freeze":
        base = load_file(tiny_llama_dir / "model.safetensors")
        assert {name for name in base if not torch.equal(base[name], weights[name])} <= {
            name for name in base if ".layers.1." in name
        }
    assert losses(options)[-1] < losses(options)[0]


def test_resuming_gives_the_same_bits(options: dict[str, Any], tmp_path: Path) -> None:
    options |= {
        "max_steps": 4,
        "save_strategy": "steps",
        "save_steps": 2,
        "optim": "adamw_torch",
        "learning_rate": 1e-3,
    }
    straight = train(options)
    folder = tmp_path / "resumed"
    with pytest.raises(KeyboardInterrupt):
        train(options | {"output_dir": str(folder)}, Interrupt(3))
    assert (folder / "checkpoint-2" / "complete.json").is_file()
    assert not [file for file in folder.rglob("*") if file.suffix in (".bin", ".pt", ".pth", ".pkl")]
    assert difference(train(options | {"output_dir": str(folder)}), straight) == 0
    (folder / "model.safetensors").unlink()
    (folder / "checkpoint-4" / "model.safetensors").write_bytes(b"")
    assert difference(train(options | {"output_dir": str(folder)}), straight) == 0


class Interrupt(TrainerCallback):
    """Ctrl+C after one step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


def test_report_evaluation_and_loss_curve(
    options: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    options |= {
        "plot_loss": True,
        "include_effective_tokens_per_second": True,
        "val_size": 6,
        "do_eval": True,
        "eval_strategy": "steps",
        "eval_steps": 2,
    }
    train(options)
    folder = Path(options["output_dir"])
    report = json.loads((folder / "tl_report.json").read_text("utf-8"))
    assert report["settings"]["w_max"] == 9
    assert report["train"]["examples"] + report["eval"]["examples"] == 24
    assert report["train"]["errors"] == {
        "Parameter Hallucination": report["train"]["errors"]["Parameter Hallucination"]
    }
    assert report["train"]["calls"] + report["eval"]["calls"] == 24
    printed = capsys.readouterr().out
    assert "effective_tokens_per_sec" in printed
    assert "out of the loss" in printed
    assert "Parameter Hallucination" in printed
    for name in ("training_loss.png", "training_eval_loss.png", "eval_results.json"):
        assert (folder / name).stat().st_size > 0
    alone = {"do_train": False, "model_name_or_path": str(folder), "output_dir": str(tmp_path / "alone")}
    run_exp(options | alone | {"eval_strategy": "no", "plot_loss": False})
    found = [json.loads((place / "eval_results.json").read_text("utf-8")) for place in (folder, tmp_path / "alone")]
    assert found[0]["eval_loss"] == pytest.approx(found[1]["eval_loss"], abs=1e-5)


# What does not work


def test_a_users_own_judge_decides_what_is_trained(options: dict[str, Any]) -> None:
    judge = {"max_steps": 1, "tl_feedback_function": "feedback_judges:all_wrong"}
    with pytest.raises(OptionError, match="tl_feedback_function=feedback_judges:broken raised KeyError"):
        train(options | judge | {"tl_feedback_function": "feedback_judges:broken"})
    train(options | judge | {"preprocessing_num_workers": 2})
    report = json.loads((Path(options["output_dir"]) / "tl_report.json").read_text("utf-8"))
    assert report["settings"]["feedback_function"] == "feedback_judges:all_wrong"
    assert set(report["train"]["errors"]) == {"Refused"}


def test_unusable_examples_end_the_run_or_are_left_out(
    options: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = [record(turn("human", "?"), call("get_weather"))] * 2
    options["dataset_dir"] = str(write_data(tmp_path / "data", [*records(6), *bad]))
    with pytest.raises(DataError, match=r"2 of 8 examples \(train\): no call has feedback; "):
        train(options)
    assert not (Path(options["output_dir"]) / "tl_report.json").exists()
    train(options | {"tl_skip_bad": True, "max_steps": 1})
    assert "6 examples" in capsys.readouterr().out
    train(options | {"tl_use_mae": False, "max_steps": 1, "overwrite_output_dir": True})


def test_a_tokenizer_without_offsets(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.PreTrainedTokenizerFast.is_fast", property(lambda self: False))
    options["template"] = "llama3"  # ours need positions themselves
    with pytest.raises(OptionError, match="gives no character offsets, by which key tokens are found"):
        train(options)
    train(options | {"tl_skip_bad": True, "max_steps": 1})
    report = json.loads((Path(options["output_dir"]) / "tl_report.json").read_text("utf-8"))
    assert (report["settings"]["use_pkt"], report["train"]["key_tokens"]) == (False, 0)
