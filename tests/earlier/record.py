"""Write what a version of this package leaves behind: `python tests/earlier/record.py FOLDER`, at that version.

Finished and half-done runs of citi, tl_sft and tl_ppo, an export, answers and their scores, all from one tiny model.
Paths in them are relative to FOLDER. `test_earlier.py` holds that later versions load them.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.update(HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1", WANDB_MODE="disabled", CUDA_VISIBLE_DEVICES="")

import torch
from llamafactory.train.tuner import run_exp
from transformers import TrainerCallback

import tiny
from ppo_runs import ppo_options, write_ppo_data
from processes import run
from runs import citi_options
from tl.sft.test_training import sft_options
from tl.trajectories import records, write_data

MODEL, DATA, QUESTIONS = Path("model"), Path("data"), Path("questions")
SAVE_STEPS = 3
SAVED = {
    "save_strategy": "steps",
    "save_steps": SAVE_STEPS,
    "save_total_limit": 1,
    "lr_scheduler_type": "linear",
    "overwrite_cache": None,
}
LORA = {"finetuning_type": "lora", "lora_rank": 2, "lora_target": "q_proj,down_proj"}
# Where each half-done run was interrupted: the folder of the phase or run, and the step.
INTERRUPTED = {"citi": ("phase-2-mi", 10), "tl_sft": ("tl_sft_half", 5), "tl_ppo": ("tl_ppo_half", 5)}


def options(method: str, output: Path) -> dict[str, Any]:
    """A run of a few steps with checkpoints."""
    if method == "citi":
        return citi_options(MODEL, DATA, output, **SAVED)
    if method == "tl_sft":
        steps = {"per_device_train_batch_size": 4, "max_steps": 8, "optim": "adamw_torch", "learning_rate": 1e-3}
        return sft_options(MODEL, DATA, output, **(SAVED | LORA | steps))
    halves = {"per_device_train_batch_size": 2, "tl_minibatches": 2, "tl_ppo_epochs": 2, "max_steps": 8}
    adapted = {"tl_critic": "own", "tl_kl_target": 0.5, "tl_kl_horizon": 50}
    return ppo_options(MODEL, DATA, output, **(SAVED | LORA | halves | adapted))


def write_inputs() -> None:
    """The base model, the three data sets in one folder, and the questions of a benchmark."""
    tiny.save_tiny_model(MODEL, hidden_size=16, intermediate_size=24)
    entries: dict[str, Any] = {}
    for write in (
        lambda: tiny.write_tiny_data(DATA, 16),
        lambda: write_ppo_data(DATA, 18),
        lambda: write_data(DATA, records(24)),
    ):
        write()
        entries |= json.loads((DATA / "dataset_info.json").read_text("utf-8"))
    (DATA / "dataset_info.json").write_text(json.dumps(entries, indent=1), encoding="utf-8")
    QUESTIONS.mkdir()
    asked = [{"question": f"What is {i} plus 3?", "answer": f"It is {i + 3}.\n#### {i + 3}"} for i in range(3)]
    (QUESTIONS / "test.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in asked), encoding="utf-8")


class Interrupt(TrainerCallback):
    """Ctrl+C after a step of a run or phase, by the folder it writes to."""

    def __init__(self, folder: str, step: int) -> None:
        self.folder, self.step = folder, step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if Path(args.output_dir).name == self.folder and state.global_step == self.step:
            raise KeyboardInterrupt


def train_twice(method: str) -> None:
    """A finished run and one that ends half-way."""
    run_exp(options(method, Path(method)), [])
    try:
        run_exp(options(method, Path(f"{method}_half")), [Interrupt(*INTERRUPTED[method])])
    except KeyboardInterrupt:
        return
    raise RuntimeError(f"{method} was not interrupted")


def ask(folder: Path, out: str, *more: str) -> None:
    """Answer the questions with the exported model."""
    command("infer", "--model", "export", "--backend", "hf", "--benchmark", "gsm8k", "--source", str(QUESTIONS),
            "--out", out, "--max_new_tokens", "12", "--dtype", "float32", *more, cwd=folder)  # fmt: skip


def command(*words: str, cwd: Path) -> str:
    """Run one of our verbs as a user does."""
    ended = run(
        [sys.executable, "-m", "llamafactory_ext.cli", *words], cwd, PYTHONPATH=os.environ.get("PYTHONPATH", "")
    )
    if ended.returncode:
        raise RuntimeError(ended.stdout + ended.stderr)
    return ended.stdout


def export(folder: Path) -> None:
    """The finished citi adapter as a model directory."""
    from llamafactory.train.tuner import export_model

    given: Mapping[str, Any] = {
        "model_name_or_path": str(MODEL),
        "adapter_name_or_path": "citi",
        "finetuning_type": "citi",
        "template": "llama3",
        "export_dir": str(folder),
        "infer_dtype": "float32",
        "trust_remote_code": False,
    }
    export_model(dict(given))


def main(folder: Path) -> None:
    """Fill an empty folder."""
    folder.mkdir(parents=True)
    os.chdir(folder)
    torch.set_num_threads(1)
    write_inputs()
    for method in INTERRUPTED:
        train_twice(method)
    export(Path("export"))
    here = Path.cwd()
    ask(here, "answers_half.jsonl", "--limit", "2")
    ask(here, "answers.jsonl")
    command("score", "gsm8k", "--predictions", "answers.jsonl", "--references", str(QUESTIONS), cwd=here)
    for checkpoint in here.glob("*/phase-1-rp/checkpoint-*"):  # of a finished phase: never read again
        shutil.rmtree(checkpoint)
    for method in INTERRUPTED:  # what a finished run ends with is enough
        for kept in (*Path(method).rglob("checkpoint-*"), *Path(method).glob("*.png")):
            shutil.rmtree(kept) if kept.is_dir() else kept.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
