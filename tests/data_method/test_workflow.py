"""Whole runs of `finetuning_type: data` through upstream's `run_exp`: sequences, resuming, refusals."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from llamafactory.hparams import get_infer_args
from llamafactory.model import load_model, load_tokenizer
from llamafactory.train.tuner import run_exp
from safetensors.torch import load_file
from torch import Tensor
from transformers import TrainerCallback

import tiny
from forked import spread
from llamafactory_ext.checkpoint.atomic import write_json
from llamafactory_ext.errors import CheckpointError, OptionError
from llamafactory_ext.upstream.pipeline.named import strange_adapters
from processes import train_options
from runs import WEIGHTS, equal
from tl.trajectories import records, write_data


def options(model: Path, data: Path, output: Path, **changes: Any) -> dict[str, Any]:
    """Four steps of a small adapter that moves visibly."""
    settings = {
        "finetuning_type": "data",
        "data_task": "first",
        "data_low_rank": 2,
        "data_high_rank": 3,
        "data_components": 3,
        "data_layers_per_gate": 1,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "cosine",
        "max_steps": 4,
        "save_strategy": "steps",
        "save_steps": 2,
        "overwrite_cache": True,
        "seed": 7,
    }
    return train_options(model, data, output, **(settings | changes))


def train(settings: dict[str, Any], *callbacks: TrainerCallback) -> dict[str, Tensor]:
    """The finished adapter."""
    run_exp(settings, list(callbacks))
    return load_file(Path(settings["output_dir"]) / WEIGHTS)


def log_of(folder: Path) -> list[dict[str, float]]:
    history = json.loads((folder / "trainer_state.json").read_text("utf-8"))["log_history"]
    return [entry for entry in history if "loss" in entry]


class Interrupt(TrainerCallback):
    """End a run after a step, as a kill would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def first(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished first task; read-only."""
    folder = tmp_path_factory.mktemp("first")
    train(options(tiny_llama_dir, tiny_data_dir, folder, data_restore_ratio=0.5, data_restore_probability=0.2))
    return folder


def test_a_first_task_leaves_a_sealed_adapter_and_its_origin(first: Path) -> None:
    config = json.loads((first / "adapter_config.json").read_text("utf-8"))
    assert (config["peft_type"], config["tasks"], config["components"]) == ("DATA", ["first"], 3)
    manifest = json.loads((first / "manifest.json").read_text("utf-8"))
    assert [step["task"] for step in manifest["sequence"]] == ["first"]
    assert (first / "adapter_seal.json").is_file()
    for entry in log_of(first):
        assert entry["loss"] == pytest.approx(entry["loss_lm"] + entry["loss_ortho"], rel=1e-3)
        assert 0 < entry["gate_low"] < 1
    assert log_of(first)[-1]["loss_lm"] < log_of(first)[0]["loss_lm"]
    assert list(json.loads((first / "gates.json").read_text("utf-8"))) == ["layer 0", "layer 1"]


def test_a_second_task_adds_rows_and_keeps_the_first_ones(
    first: Path, tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path
) -> None:
    before = load_file(first / WEIGHTS)
    settings = options(tiny_llama_dir, tiny_data_dir, tmp_path / "out", data_task="second") | {
        "adapter_name_or_path": str(first)
    }
    after = train(settings)
    for name in (name for name in before if ".new_" in name):
        old = name.replace(".new_", ".old_")
        assert torch.equal(after[old], before[name])
        assert not torch.equal(after[name], before[name])
    assert any(not torch.equal(after[name], before[name]) for name in before if "data_adapter_A" in name)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    assert [step["task"] for step in manifest["sequence"]] == ["first", "second"]


@pytest.mark.parametrize("sequel", [False, True])
@pytest.mark.parametrize(
    "changes", [{}, {"bf16": True}, {"packing": True, "neat_packing": True, "cutoff_len": 195}], ids=str
)
def test_an_interrupted_run_goes_on_bit_by_bit(
    sequel: bool, changes: dict[str, Any], first: Path, tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path
) -> None:
    more: dict[str, Any] = {"data_restore_ratio": 0.25, "data_restore_probability": 0.3, **changes}
    if sequel:
        more |= {"data_task": "second", "adapter_name_or_path": str(first)}
    straight = train(options(tiny_llama_dir, tiny_data_dir, tmp_path / "straight", **more))
    settings = options(tiny_llama_dir, tiny_data_dir, tmp_path / "cut", **more)
    with pytest.raises(KeyboardInterrupt):
        train(settings, Interrupt(3))
    assert not (tmp_path / "cut" / WEIGHTS).exists()
    assert equal(train(settings), straight)
    assert [entry["step"] for entry in log_of(tmp_path / "cut")] == [1, 2, 3, 4]


def test_two_processes_change_no_step(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path) -> None:
    common = {"save_strategy": "no", "max_steps": 2, "optim": "sgd", "lr_scheduler_type": "constant"}
    common |= {"learning_rate": 0.1, "data_restore_ratio": 0.5, "data_restore_probability": 0.3}
    alone = train(options(tiny_llama_dir, tiny_data_dir, tmp_path / "alone", per_device_train_batch_size=4, **common))
    job = options(tiny_llama_dir, tiny_data_dir, tmp_path / "both", per_device_train_batch_size=2, **common)
    (tmp_path / "jobs.json").write_text(json.dumps([job | {"ddp_find_unused_parameters": False}]), encoding="utf-8")
    script = Path(__file__).parents[1] / "tl" / "sft" / "two_processes.py"
    done = spread(script, [str(tmp_path / "jobs.json")], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    both = load_file(tmp_path / "both" / WEIGHTS)
    for name, tensor in alone.items():
        assert torch.allclose(both[name], tensor, atol=1e-5), name


def test_accumulation_and_recomputation_change_no_step(
    tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path
) -> None:
    common = {"save_strategy": "no", "max_steps": 2, "optim": "sgd", "lr_scheduler_type": "constant"}
    ways = {
        "plain": {"per_device_train_batch_size": 4, "disable_gradient_checkpointing": True},
        "accumulated": {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4},
    }
    found = {
        name: train(options(tiny_llama_dir, tiny_data_dir, tmp_path / name, **common, **way))
        for name, way in ways.items()
    }
    for name, tensor in found["plain"].items():
        assert torch.allclose(found["accumulated"][name], tensor, atol=1e-6), name


@pytest.mark.parametrize("changes", [{"data_gate": gate} for gate in ("prefix", "reference", "none")] + [
    {"data_target": "attention", "data_init": "reference"}, {"data_ortho_weight": 0.0},
], ids=str)  # fmt: skip
def test_options_of_the_adapter_reach_it(
    changes: dict[str, Any], tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path
) -> None:
    weights = train(options(tiny_llama_dir, tiny_data_dir, tmp_path, save_strategy="no", max_steps=2, **changes))
    assert any(".data_gate." in name for name in weights) == (changes.get("data_gate") != "none")
    assert any("mlp" in name for name in weights) == (changes.get("data_target") != "attention")
    config = json.loads((tmp_path / "adapter_config.json").read_text("utf-8"))
    assert config["gate"] == changes.get("data_gate", "token")


def test_weights_of_tokens_count(tiny_llama_dir: Path, tmp_path: Path) -> None:
    data = write_data(tmp_path / "trajectories", records(12))
    more = {"stage": "tl_sft", "dataset": "trajectories", "template": "llama3_api_bank", "cutoff_len": 1024}
    common = {**more, "save_strategy": "no", "max_steps": 2}
    weighted = train(options(tiny_llama_dir, data, tmp_path / "weighted", **common))
    plain = train(options(tiny_llama_dir, data, tmp_path / "plain", tl_use_pkt=False, **common))
    assert not equal(weighted, plain)


def answer(model: Path, adapter: Path, **changes: Any) -> Tensor:
    given = {"model_name_or_path": str(model), "adapter_name_or_path": str(adapter), "finetuning_type": "data"}
    model_args, _, finetuning_args, _ = get_infer_args({**given, "template": "llama3", **changes})
    tokenizer = load_tokenizer(model_args)["tokenizer"]
    loaded = load_model(tokenizer, model_args, finetuning_args)
    with torch.no_grad():
        return loaded(input_ids=torch.arange(5, 25)[None]).logits


def test_chat_and_api_load_it_and_rows_up_to_a_task(
    first: Path, tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path
) -> None:
    train(options(tiny_llama_dir, tiny_data_dir, tmp_path, data_task="second", adapter_name_or_path=str(first)))
    whole = answer(tiny_llama_dir, tmp_path)
    part = answer(tiny_llama_dir, tmp_path, data_rows="task", data_task="first")
    assert torch.equal(answer(tiny_llama_dir, tmp_path, data_rows="task", data_task="second"), whole)
    assert not torch.equal(part, whole)
    with pytest.raises(OptionError, match="knows no task 'third', only first, second"):
        answer(tiny_llama_dir, tmp_path, data_rows="task", data_task="third")


def _of_another_method(folder: Path) -> None:
    config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    (folder / "adapter_seal.json").unlink()
    write_json(folder / "adapter_config.json", config | {"peft_type": "LORA"})


def _with_a_gap(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    write_json(folder / "manifest.json", manifest | {"sequence": []})


def _damaged(folder: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)


def _holding(name: str, content: Any) -> Callable[[Path], None]:
    """Give a file another content; a dictionary changes parts of what it holds. Only the seal itself stays sealed."""

    def change(folder: Path) -> None:
        if name != "adapter_seal.json":
            (folder / "adapter_seal.json").unlink()
        whole = json.loads((folder / name).read_text("utf-8"))
        write_json(folder / name, whole | content if isinstance(content, dict) else content)

    return change


DAMAGED = {
    "adapter_config.json": [[], 3, {"tasks": 3}, {"tasks": "first"}, {"tasks": [[]]}, {"low_rank": "2"}, {"gate": []}],
    "manifest.json": [[], 3, {"sequence": 3}, {"sequence": {}}, {"base": []}],
    "adapter_seal.json": [[], 3, {"files": []}],
}
BAD_STARTS: dict[str, tuple[Callable[[Path], Any] | None, dict[str, Any], str]] = {
    **{
        f"{name} {content}": (_holding(name, content), {}, name)
        for name, contents in DAMAGED.items()
        for content in contents
    },
    "too wide a rank": (None, {"adapter_name_or_path": None, "data_low_rank": 10**9}, "data_low_rank=1000000000 is"),
    "too many rows": (None, {"adapter_name_or_path": None, "data_components": 10**8}, "need 100000000 rows per gate"),
    "too long a group": (None, {"adapter_name_or_path": None, "data_layers_per_gate": 3}, "data_layers_per_gate=3 is"),
    "another method": (_of_another_method, {}, "holds a LORA adapter, not one of DATA"),
    "a gap": (_with_a_gap, {}, "a task is missing"),
    "damaged": (_damaged, {}, "is not what was saved"),
    "no adapter": (lambda folder: (folder / "adapter_config.json").unlink(), {}, "holds no adapter_config.json"),
    "learnt already": (None, {"data_task": "first"}, "has learnt it already"),
    "another shape": (None, {"data_low_rank": 8}, "data_low_rank=8, and the adapter has 2"),
    "no task": (None, {"data_task": None}, "data_task is missing"),
    "rows to answer": (None, {"data_rows": "task"}, "data_rows: task is for answering"),
    "two adapters": (None, {"adapter_name_or_path": "{path},{path}"}, "names 2 adapters"),
    "same folder": (None, {"output_dir": "{path}"}, "is the folder of adapter_name_or_path"),
    "stage": (None, {"stage": "dpo"}, "set stage: sft"),
    "fsdp": (None, {"fsdp": "full_shard"}, "fsdp"),
}


@pytest.mark.parametrize("case", BAD_STARTS)
def test_what_cannot_go_on_is_said_before_a_model_is_loaded(
    case: str, first: Path, tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("llamafactory_ext.data_method.workflow.load_model", None)
    change, more, message = BAD_STARTS[case]
    path = shutil.copytree(first, tmp_path / "copy")
    if change is not None:
        change(path)
    given = {"data_task": "second", "adapter_name_or_path": "{path}", **more}
    given = {name: value.format(path=path) if isinstance(value, str) else value for name, value in given.items()}
    settings = options(tiny_llama_dir, tiny_data_dir, tmp_path / "out", data_low_rank=4) | given
    if case not in ("another shape", "too wide a rank"):
        settings["data_low_rank"] = 2
    with pytest.raises((OptionError, CheckpointError), match=message):
        run_exp(settings)
    assert not (tmp_path / "out" / WEIGHTS).exists()


def test_an_adapter_of_another_base_and_rows_that_run_out_are_refused(
    first: Path, tiny_data_dir: Path, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    other = tiny.save_tiny_model(tmp_path / "other", seed=3)
    more = {"data_task": "second", "adapter_name_or_path": str(first)}
    with pytest.raises(CheckpointError, match="trained on another base model"):
        run_exp(options(other, tiny_data_dir, tmp_path / "out", **more))
    with pytest.raises(OptionError, match="need 40 rows per gate"):
        run_exp(options(tiny_llama_dir, tiny_data_dir, tmp_path / "out", data_components=40))


def test_a_finished_folder_is_not_trained_again(first: Path, tiny_llama_dir: Path, tiny_data_dir: Path) -> None:
    with pytest.raises(OptionError, match="holds a finished run"):
        run_exp(options(tiny_llama_dir, tiny_data_dir, first))


def test_no_adapter_of_a_method_is_taken_for_one_of_lora(first: Path, tmp_path: Path) -> None:
    """A method may train one of LoRA: that one is."""
    model_args = SimpleNamespace(adapter_name_or_path=[str(first)], adapter_folder=None, model_name_or_path="none")
    finetuning_args = SimpleNamespace(finetuning_type="lora")
    (line,) = strange_adapters(model_args, finetuning_args)
    assert line.endswith("holds a DATA adapter, not one of LoRA; set finetuning_type: data, or name a LoRA adapter")
    copy = shutil.copytree(first, tmp_path / "copy")
    _of_another_method(copy)
    model_args.adapter_name_or_path = [str(copy)]
    assert not any("not one of LoRA" in line for line in strange_adapters(model_args, finetuning_args))


def test_an_estimate_reads_the_data(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path, capsys: Any) -> None:
    run_exp(options(tiny_llama_dir, tiny_data_dir, tmp_path, dry_run=True, dry_run_gpus=8))
    (count,) = re.findall(r"Data: ([\d,]+) examples", capsys.readouterr().out)
    assert int(count.replace(",", "")) > 0
