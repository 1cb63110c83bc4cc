"""The life of the dummy rows in one process: `python life.py MODEL DATA FOLDER` prints what happened, as JSON."""

from __future__ import annotations

import io
import json
import shlex
import sys
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Any

from methods.dummy import rows

rows.add()

import torch  # noqa: E402
import yaml  # noqa: E402
from llamafactory.hparams import get_train_args, read_args  # noqa: E402
from llamafactory.train.tuner import export_model, run_exp  # noqa: E402
from peft import PeftModel  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM, TrainerCallback  # noqa: E402

from llamafactory_ext.board.progress import read_progress  # noqa: E402
from llamafactory_ext.board.showing import as_markdown  # noqa: E402
from llamafactory_ext.commands.infer import infer  # noqa: E402
from llamafactory_ext.commands.score import score  # noqa: E402
from llamafactory_ext.errors import OptionError  # noqa: E402
from llamafactory_ext.options.rows import row_faults  # noqa: E402
from llamafactory_ext.report.report import report  # noqa: E402

Facts = dict[str, Any]


class Interrupt(TrainerCallback):
    """Ctrl+C after the third step, one checkpoint behind it."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 3:
            raise KeyboardInterrupt


def train_from(file: Path, callbacks: list[Any] | None = None) -> None:
    """Train as the command does: the file's name is the first word."""
    sys.argv = ["llamafactory-cli", str(file)]
    run_exp(read_args(), callbacks)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {
        f"{path.relative_to(folder)}:{name}": weight
        for path in sorted(folder.rglob("adapter/*.safetensors"))
        for name, weight in load_file(path).items()
    }


def settings(model: Path, data: Path, output: Path) -> dict[str, Any]:
    return {
        "model_name_or_path": str(model),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "dummy",
        "dataset": "tiny",
        "dataset_dir": str(data),
        "template": "llama3",
        "cutoff_len": 128,
        "output_dir": str(output),
        "per_device_train_batch_size": 4,
        "save_strategy": "steps",
        "save_steps": 2,
        "logging_steps": 1,
        "report_to": "none",
        "use_cpu": True,
        "seed": 7,
        "dummy_epochs": 1.0,
    }


def training(model: Path, data: Path, folder: Path) -> Facts:
    """A run, one that is interrupted and repeated, and what both left."""
    for name in ("straight", "broken"):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings(model, data, folder / name)), encoding="utf-8")
    train_from(folder / "straight.yaml")
    interrupted = False
    try:
        train_from(folder / "broken.yaml", [Interrupt()])
    except KeyboardInterrupt:
        interrupted = True
    begun = read_progress(folder / "broken")
    unfinished = (folder / "broken" / "adapter_model.safetensors").exists()
    said = io.StringIO()
    with redirect_stdout(said):
        train_from(folder / "broken.yaml")
    one, other = weights(folder / "straight"), weights(folder / "broken")
    progress = read_progress(folder / "straight")
    assert progress is not None
    return {
        "interrupted": interrupted,
        "state_then": None if begun is None else begun.phases[0].state,
        "unfinished": unfinished,
        "resumed": said.getvalue(),
        "tensors": len(one),
        "equal": one.keys() == other.keys() and all(one[name].equal(other[name]) for name in one),
        "finished": progress.finished,
        "method": progress.method.name if progress.method else None,
        "table": as_markdown(progress, "en"),
    }


def models(model: Path, folder: Path) -> Facts:
    """The adapter off, and the export."""
    ids = torch.arange(1, 17)[None]
    base = AutoModelForCausalLM.from_pretrained(model).eval()
    with torch.no_grad():
        plain = base(ids).logits
        tuned = PeftModel.from_pretrained(base, folder / "straight").eval()
        with tuned.disable_adapter():
            off = tuned(ids).logits
        on = tuned(ids).logits
    export_model(
        {
            "model_name_or_path": str(model),
            "adapter_name_or_path": str(folder / "straight"),
            "finetuning_type": "dummy",
            "template": "llama3",
            "export_dir": str(folder / "export"),
        }
    )
    exported = AutoModelForCausalLM.from_pretrained(folder / "export").eval()
    with torch.no_grad():
        served = exported(ids).logits
    return {"off_is_base": off.equal(plain), "export_is_adapter": torch.allclose(served, on, atol=1e-5)}


def scores(folder: Path) -> Facts:
    """Questions asked of the export, their score, and the report."""
    published = folder / "published"
    published.mkdir()
    records = [{"question": f"What is {n}?", "answer": str(n)} for n in range(3)]
    (published / "dummy.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    answers = folder / "answers.jsonl"
    asked = {"model": str(folder / "export"), "benchmark": "dummy", "source": str(published), "out": str(answers)}
    infer(**asked, backend="hf", template="llama3_api_bank", max_new_tokens=2)
    score("dummy", predictions=str(answers), references=str(published), mode="strict")
    kept = json.loads((folder / "answers.strict.json").read_text("utf-8"))
    report(f"dummy run={folder / 'answers.strict.json'}", out=str(folder / "report"))
    return {
        "answers": len(answers.read_text("utf-8").splitlines()),
        "figures": kept["figures"],
        "reported": (folder / "report" / "report.md").read_text("utf-8"),
    }


def options(model: Path, data: Path, folder: Path) -> Facts:
    """`-h`, all conflicts at once, and the Board's panel."""
    asked = settings(model, data, folder / "none")
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            get_train_args(["--help"])
    except SystemExit:
        pass
    try:
        get_train_args(asked | {"dummy_kind": "awake", "dummy_epochs": -1, "packing": True, "dummy_x": 1})
        wrong = ""
    except OptionError as error:
        wrong = error.message
    try:
        get_train_args(asked | {"dummy_kind": "asleep", "dummy_epochs": 2.0})
        conflict = ""
    except OptionError as error:
        conflict = error.message
    return {"help": said.getvalue(), "wrong": wrong, "conflict": conflict, **board(model)}


def board(model: Path) -> Facts:
    """The page: its list of types, the panel, the command that it makes, and what that command means."""
    from llamafactory.webui import interface

    engines: list[Any] = []
    original = interface.Engine
    interface.Engine = lambda **named: engines.append(original(**named)) or engines[-1]  # type: ignore[func-returns-value]
    interface.create_ui()
    manager, runner = engines[0].manager, engines[0].runner
    data = {element: getattr(element, "value", None) for _, element in manager.get_elem_iter()}
    filled = {
        "top.lang": "en",
        "top.model_name": "Custom",
        "top.model_path": str(model),
        "top.finetuning_type": "dummy",
        "top.template": "llama3",
        "top.checkpoint_path": [],
        "train.dataset": ["tiny"],
        "train.output_dir": "run",
        "train.config_path": "kept.yaml",
        "train.compute_type": "fp32",
        "train.extra_args": "{}",
        "train.dummy_kind": "asleep",
        "train.dummy_epochs": 0.5,
    }
    data |= {manager.get_elem_by_id(name): value for name, value in filled.items()}
    types = [value for _, value in manager.get_elem_by_id("top.finetuning_type").choices]
    made = runner._parse_train_args(data)
    (update,) = runner.preview_train(data)
    command = str(update[manager.get_elem_by_id("train.output_box")])
    words = shlex.split(command.strip("`").removeprefix("bash").replace("\\\n", " "))[2:]
    keeps = {"--dummy_kind", "--dummy_epochs"}
    kept = [word for pair in pairwise(words) if pair[0] in keeps for word in pair]
    return {
        "types": types,
        "form": {name: made.get(name) for name in ("dummy_kind", "dummy_epochs", "learning_rate", "finetuning_type")},
        "command": kept,
    }


def main(model: Path, data: Path, folder: Path) -> None:
    found: Facts = {"faults": row_faults()}
    for part, facts in (
        ("training", lambda: training(model, data, folder)),
        ("models", lambda: models(model, folder)),
        ("scores", lambda: scores(folder)),
        ("options", lambda: options(model, data, folder)),
    ):
        found[part] = facts()
    (folder / "facts.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
