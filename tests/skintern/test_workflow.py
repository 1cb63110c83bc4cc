"""`stage: skintern`: steps one after the other on one model, sealed, resumed by the same command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from llamafactory.hparams import get_train_args
from llamafactory.train.tuner import run_exp
from safetensors.torch import load_file
from transformers import TrainerCallback

from llamafactory_ext.errors import CheckpointError, DataError, OptionError
from skintern.knowledge import knowledge_records, write_knowledge
from skintern.short_runs import options


class Rates(TrainerCallback):
    """Notes the learning rate before every step, by phase."""

    def __init__(self) -> None:
        self.seen: dict[str, list[float]] = {}

    def on_step_begin(self, args: Any, state: Any, control: Any, lr_scheduler: Any = None, **_: Any) -> None:
        self.seen.setdefault(Path(args.output_dir).name, []).append(lr_scheduler.get_last_lr()[0])


class InStepTwo(TrainerCallback):
    """Ctrl+C in the second step."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if Path(args.output_dir).name == "phase-2-s2":
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def finished(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    run_exp(options(tiny_llama_dir, folder), [])
    return folder


def test_every_step_has_its_data_its_log_and_its_seal(finished: Path) -> None:
    records = knowledge_records(8)
    steps = sorted((finished / "out").glob("phase-*"))
    assert [step.name for step in steps] == ["phase-1-s1", "phase-2-s2", "phase-3-s3"]
    for step in steps:
        assert (step / "adapter" / "adapter_model.safetensors").is_file()
        assert (step / "trainer_log.jsonl").is_file()
    prompts = [
        [json.loads(line)["q"] for line in (step / "data" / "records.jsonl").read_text("utf-8").splitlines()]
        for step in steps
    ]
    assert prompts[2] == [record["q"] for record in records]
    assert all(record["k"]["summary"] in prompt for record, prompt in zip(records, prompts[0], strict=True))


def test_the_last_steps_adapter_is_at_the_top(finished: Path) -> None:
    name = "adapter_model.safetensors"
    last = (finished / "out" / "phase-3-s3" / "adapter" / name).read_bytes()
    assert (finished / "out" / name).read_bytes() == last
    assert (finished / "out" / "phase-2-s2" / "adapter" / name).read_bytes() != last


def test_a_step_begins_where_the_one_before_ended(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """With a rate of zero from step 2 on, its adapter is that of step 1."""
    run_exp(options(tiny_llama_dir, tmp_path, skintern_pattern="1,0", learning_rate=1e-3), [])
    run_exp(options(tiny_llama_dir, tmp_path, "still", skintern_pattern="1,0", learning_rate=1e-30), [])
    moved, still = (
        [(tmp_path / out / f"phase-{step}" / "adapter" / "adapter_model.safetensors") for step in ("1-s1", "2-s2")]
        for out in ("out", "still")
    )
    first, second = (load_file(path) for path in still)
    assert all(torch.allclose(first[name], second[name], rtol=0, atol=1e-20) for name in first)
    assert moved[0].read_bytes() != moved[1].read_bytes()


def test_a_finished_run_is_not_written_over(finished: Path, tiny_llama_dir: Path) -> None:
    before = {path: path.read_bytes() for path in (finished / "out").rglob("*.safetensors")}
    with pytest.raises(OptionError, match="holds a finished run"):
        run_exp(options(tiny_llama_dir, finished), [])
    assert {path: path.read_bytes() for path in (finished / "out").rglob("*.safetensors")} == before


@pytest.mark.parametrize("change", ["knowledge", "skintern_pattern", "learning_rate"])
def test_another_run_is_refused_by_name(tiny_llama_dir: Path, tmp_path: Path, change: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_exp(options(tiny_llama_dir, tmp_path, skintern_pattern="1,0", max_steps=1), [InStepTwo()])
    changes = {"skintern_pattern": {"skintern_pattern": "step"}, "learning_rate": {"learning_rate": 5e-4}}
    if change == "knowledge":
        path = tmp_path / "data" / "knowledge.json"
        path.write_text(path.read_text("utf-8").replace("commute", "permute"), "utf-8")
    own = {"skintern_pattern": "1,0", "max_steps": 1} | changes.get(change, {})
    with pytest.raises(CheckpointError, match="step_data" if change == "knowledge" else change):
        run_exp(options(tiny_llama_dir, tmp_path, **own), [])
    run_exp(options(tiny_llama_dir, tmp_path, overwrite_output_dir=True, **own), [])


@pytest.mark.parametrize("last", [0.0, 0.5])
def test_one_schedule_over_all_steps_is_that_of_one_run(tiny_llama_dir: Path, tmp_path: Path, last: float) -> None:
    common = {"lr_scheduler_type": "cosine", "warmup_steps": 3, "skintern_last_share": last, "num_train_epochs": 6}
    whole, one, each = Rates(), Rates(), Rates()
    run_exp(options(tiny_llama_dir, tmp_path, "whole", skintern_lr_schedule="whole", **common), [whole])
    run_exp(options(tiny_llama_dir, tmp_path, "each", **common), [each])
    del common["skintern_last_share"]
    run_exp(options(tiny_llama_dir, tmp_path, "one", skintern_baseline="std_cot", **common), [one])
    (rates,) = one.seen.values()
    assert [rate for phase in sorted(whole.seen) for rate in whole.seen[phase]] == pytest.approx(rates)
    assert all(step[0] == 0 for step in each.seen.values())  # each warms up anew
    shares = [len(step) for _, step in sorted(whole.seen.items())]
    assert shares == ([8, 8, 8] if not last else [6, 6, 12])


@pytest.mark.parametrize(
    ("baseline", "phases", "known"),
    [
        ("std_cot", 1, [0]),
        ("std_restarts", 3, [0, 0, 0]),
        ("abrupt", 2, [8, 0]),
        ("drop", 1, [4]),
        ("ft", 1, [0]),
    ],
)
def test_rivals_have_their_own_steps(
    tiny_llama_dir: Path, tmp_path: Path, baseline: str, phases: int, known: list[int]
) -> None:
    run_exp(options(tiny_llama_dir, tmp_path, skintern_baseline=baseline, max_steps=1, skintern_parts="summary"), [])
    files = sorted((tmp_path / "out").glob("phase-*/data/records.jsonl"))
    assert len(files) == phases
    records = [[json.loads(line) for line in file.read_text("utf-8").splitlines()] for file in files]
    counts = [sum("Use this knowledge" in record["q"] for record in step) for step in records]
    assert counts == known or (baseline == "drop" and 1 <= counts[0] <= 7)
    assert all(("Therefore" in record["a"]) == (baseline != "ft") for step in records for record in step)


def test_evaluation_has_no_knowledge_at_any_step(tiny_llama_dir: Path, tmp_path: Path) -> None:
    write_knowledge(tmp_path / "data", 8)
    info = json.loads((tmp_path / "data" / "dataset_info.json").read_text("utf-8"))
    (tmp_path / "data" / "held.json").write_text(json.dumps(knowledge_records(12)[8:]), "utf-8")
    info["held"] = {**info["knowledge"], "file_name": "held.json"}
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps(info), "utf-8")
    changes = {"eval_dataset": "held", "do_eval": True, "eval_strategy": "epoch", "skintern_pattern": "1,0"}
    run_exp(options(tiny_llama_dir, tmp_path, num_train_epochs=2, **changes), [])
    for step in (tmp_path / "out").glob("phase-*"):
        lines = (step / "data" / "2.jsonl").read_text("utf-8").splitlines()
        assert [json.loads(line)["q"] for line in lines] == [record["q"] for record in knowledge_records(12)[8:]]
    assert "eval_loss" in json.loads((tmp_path / "out" / "eval_results.json").read_text("utf-8"))
    run_exp(options(tiny_llama_dir, tmp_path, "same", **{**changes, "eval_dataset": "knowledge", "max_steps": 1}), [])
    lines = (tmp_path / "same" / "phase-1-s1" / "data" / "2.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["q"] for line in lines] == [record["q"] for record in knowledge_records(8)]


@pytest.mark.parametrize(("size", "count"), [(0.25, 2), (3, 3)])
def test_held_out_records_are_never_trained_on_nor_shown(
    tiny_llama_dir: Path, tmp_path: Path, size: float, count: int
) -> None:
    changes = {"val_size": size, "do_eval": True, "eval_strategy": "steps", "eval_steps": 1, "skintern_pattern": "1,0"}
    run_exp(options(tiny_llama_dir, tmp_path, max_steps=1, **changes), [])
    for step in (tmp_path / "out").glob("phase-*"):
        trained, held = ((step / "data" / f"{number}.jsonl").read_text("utf-8") for number in (1, 2))
        questions = [json.loads(line)["q"] for line in held.splitlines()]
        assert len(questions) == count
        assert len(trained.splitlines()) == 8 - count
        assert not any(question in trained for question in questions)
    with pytest.raises(DataError, match="leave some to train on"):
        run_exp(options(tiny_llama_dir, tmp_path, "other", **{**changes, "val_size": 8}), [])


def test_too_long_prompts_are_an_error_where_asked(tiny_llama_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="skintern_overflow: error"):
        run_exp(options(tiny_llama_dir, tmp_path, cutoff_len=60, skintern_overflow="error"), [])
    assert not list((tmp_path / "out").glob("phase-*/adapter"))


def test_full_tuning_hands_the_whole_model_over(tiny_llama_dir: Path, tmp_path: Path) -> None:
    own = {"finetuning_type": "full", "lora_rank": None, "lora_target": None, "skintern_pattern": "1,0"}
    run_exp(options(tiny_llama_dir, tmp_path, num_train_epochs=2, **own), [])
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert (tmp_path / "out" / "config.json").is_file()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"finetuning_type": "citi", "lora_rank": None, "lora_target": None}, "stage: skintern does not work with"),
        ({"finetuning_type": "data", "lora_rank": None, "lora_target": None}, "finetuning_type: data"),
        ({"finetuning_type": "oft", "lora_rank": None, "lora_target": None}, "finetuning_type: oft"),
        ({"skintern_parts": ""}, "skintern_parts"),
        ({"skintern_steps": 1}, "skintern_steps"),
        ({"skintern_pattern": "1,0.5"}, "skintern_pattern"),
        ({"skintern_parts": "all"}, "skintern_parts"),
        ({"skintern_baseline": "std_cot", "skintern_last_share": 0.5}, "skintern_last_share"),
        ({"skintern_baseline": "std_restarts", "skintern_lr_schedule": "whole"}, "skintern_lr_schedule"),
        ({"stage": "sft"}, "skintern_"),
    ],
)
def test_conflicts_are_named_before_anything_is_loaded(
    tiny_llama_dir: Path, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(OptionError, match=named):
        get_train_args(options(tiny_llama_dir, tmp_path, **changes))
