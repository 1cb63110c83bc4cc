"""Files that earlier versions wrote still load, and runs that they left half-done resume to the same weights.

Each folder beside this file holds what `record.py` wrote at the version (a commit of this repository) it is named by.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("llamafactory", reason="LLaMA-Factory is not installed: it trains")

from llamafactory.hparams import get_infer_args
from llamafactory.model import load_model, load_tokenizer
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, TrainerCallback

from earlier.record import INTERRUPTED, QUESTIONS, SAVE_STEPS, ask, options
from llamafactory_ext.checkpoint.base import check_base
from llamafactory_ext.citi.importance_file import Importance
from llamafactory_ext.metrics import read_predictions, read_report, score
from runs import train

VERSIONS = sorted(path.parent for path in Path(__file__).parent.glob("*/model"))
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda path: path.name)
def kept(request: pytest.FixtureRequest) -> Path:
    """The files of one version; read-only."""
    return request.param


@pytest.fixture
def folder(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them to work in; the paths in them are relative to it."""
    copy = tmp_path / "copy"
    shutil.copytree(kept, copy)
    monkeypatch.chdir(copy)
    return copy


def logits(model: torch.nn.Module) -> torch.Tensor:
    ids = torch.arange(5, 45).reshape(2, 20)
    with torch.no_grad():
        return model.eval()(ids).logits


def test_every_version_left_files() -> None:
    assert [path.name for path in VERSIONS] == ["f83502e"]


def test_an_adapter_loads_with_peft_and_with_upstream_and_equals_its_export(folder: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained("model", dtype=torch.float32)
    plain = logits(base)
    check_base(base, Path("citi"))
    adapted = logits(PeftModel.from_pretrained(base, "citi"))
    assert (adapted - plain).abs().max() > 0.01, "the adapter acts"
    exported = AutoModelForCausalLM.from_pretrained("export", dtype=torch.float32)
    assert torch.allclose(logits(exported), adapted, atol=1e-5)
    model_args, _, finetuning_args, _ = get_infer_args(
        {
            "model_name_or_path": "model",
            "adapter_name_or_path": "citi",
            "finetuning_type": "citi",
            "template": "llama3",
            "infer_dtype": "float32",
        }
    )
    chatting = load_model(load_tokenizer(model_args)["tokenizer"], model_args, finetuning_args)
    assert torch.allclose(logits(chatting.float()), adapted, atol=1e-5)


def test_importance_gives_the_selection_that_it_gave(kept: Path) -> None:
    importance = Importance.load(kept / "citi" / "importance.json")
    selection = json.loads((kept / "citi" / "selection.json").read_text("utf-8"))
    selected = importance.select(top=0.3, bottom=0.2)
    assert (list(selected.adapted), list(selected.tuned)) == (selection["adapted"], selection["tuned"])


def test_answers_get_the_scores_they_got_and_a_half_done_file_is_completed(folder: Path) -> None:
    whole = Path("answers.jsonl")
    assert score("gsm8k", whole, QUESTIONS) == read_report(Path("answers.official.json"))
    begun = Path("answers_half.jsonl").read_bytes()
    assert len(begun.splitlines()) == 2
    ask(folder, "answers_half.jsonl")
    assert Path("answers_half.jsonl").read_bytes().startswith(begun), "what was answered is not asked again"
    answered = read_predictions(Path("answers_half.jsonl"), "gsm8k").predictions
    assert [one.id for one in answered] == [f"test:{i}" for i in range(3)]


class Steps(TrainerCallback):
    """The steps that were trained: the folder of the run or phase, and the number."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int]] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.done.append((Path(args.output_dir).name, state.global_step))


@pytest.mark.parametrize("method", INTERRUPTED)
def test_a_half_done_run_resumes_to_the_weights_of_the_straight_one(folder: Path, method: str) -> None:
    half, steps = Path(f"{method}_half"), Steps()
    assert not (half / WEIGHTS).exists()
    train(options(method, half), steps)
    stopped_in, at = INTERRUPTED[method]
    assert steps.done[0] == (stopped_in, at // SAVE_STEPS * SAVE_STEPS + 1), "the step after the newest checkpoint"
    ours, theirs = load_file(half / WEIGHTS), load_file(Path(method) / WEIGHTS)
    assert ours.keys() == theirs.keys()
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in theirs)
