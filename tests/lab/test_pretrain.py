"""Pretraining resumes exactly, and never sees a held-out item or a tool."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from llamafactory_ext.errors import CheckpointError
from llamafactory_ext.lab.build import build
from llamafactory_ext.lab.pretrain import Recipe, batches_of_step, build_tokenizer, train
from llamafactory_ext.lab.tools import TOOL_INSTRUCTION, TOOLS

TINY = Recipe(steps=4, examples_per_step=8, micro_batches=2, layers=1, width=64, warm_up=1)


def test_interrupted_training_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", TINY)
    stopped = train(tmp_path / "parts", TINY, stop_after=2)
    resumed = train(tmp_path / "parts", TINY)
    for (name, expected), value in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(expected, value), name
    assert not all(torch.equal(a, b) for a, b in zip(whole.parameters(), stopped.parameters(), strict=True))


def test_batches_hold_nothing_of_the_demos_tools_and_weigh_answers() -> None:
    tokenizer = build_tokenizer(TINY)
    names = [tool.name for tools in TOOLS.values() for tool in tools]
    for batch in batches_of_step(replace(TINY, examples_per_step=64), 3, tokenizer):
        for text in tokenizer.batch_decode(batch.ids_BT):
            assert not any(part in text for part in ("apiCode", "API-Request", TOOL_INSTRUCTION[:30]))
            assert not re.search(r"\[\w+\(\w+=", text)
            # Titles of forms and records may be any verb and noun; tools are described with their parameters.
            called = re.findall(r"(?:Write a call|Generate a call|Generate a request) in the format of .*", text)
            assert not called or not any(name in text for name in names)
        assert not batch.weights_BT[batch.ids_BT == tokenizer.pad_token_id].any()
        assert ((batch.weights_BT == 1).sum(1) >= 2).all()


def test_build_writes_a_whole_model_directory(tmp_path: Path) -> None:
    evaluation = build(tmp_path / "model", TINY, items=4)
    assert {path.name for path in (tmp_path / "model").iterdir()} >= {
        "model.safetensors",
        "tokenizer.json",
        "README.md",
    }
    assert evaluation is not None
    assert evaluation.scores["math"].n == 4
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_state_of_another_recipe_is_refused(tmp_path: Path) -> None:
    train(tmp_path, TINY, stop_after=1)
    with pytest.raises(CheckpointError, match="other settings"):
        train(tmp_path, replace(TINY, seed=1))


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(
        "from pathlib import Path\n"
        "from llamafactory_ext.lab.pretrain import Recipe, train\n"
        "from llamafactory_ext.lab.together import processes_of_torchrun\n"
        "with processes_of_torchrun():\n"
        f"    train(Path({str(tmp_path / 'two')!r}), {TINY!r})\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    subprocess.run(command, check=True, capture_output=True)
    train(tmp_path / "one", TINY)
    one, two = (load_file(tmp_path / name / "state.safetensors") for name in ("one", "two"))
    for name, expected in one.items():
        assert torch.allclose(expected, two[name], atol=2e-3), name
