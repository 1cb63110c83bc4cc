"""tl_sft and tl_ppo go on on another day with the tokens of the first; both say how prompts are served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from llamafactory.train.tuner import export_model, run_exp
from safetensors.torch import load_file
from transformers import AutoTokenizer

from llamafactory_ext.templates.openai import openai_tools
from other_day import FIRST, LATER, TOOL, InterruptAt, day, write_dated_data
from ppo_runs import ppo_options
from tl.sft.test_training import sft_options

STEPS = {"template": "llama3", "dataset": "calls", "max_steps": 4, "save_strategy": "steps", "save_steps": 1}


def options_of(stage: str, model: Path, data: Path, output: Path) -> dict[str, Any]:
    if stage == "tl_sft":
        return sft_options(model, data, output, **STEPS, per_device_train_batch_size=2)
    return ppo_options(model, data, output, **STEPS, per_device_train_batch_size=2, tl_reward_function=None)


@pytest.mark.parametrize("stage", ["tl_sft", "tl_ppo"])
def test_resumed_on_another_day(stage: str, tiny_llama_dir: Path, tmp_path: Path) -> None:
    data = write_dated_data(tmp_path / "data")
    straight, halves = tmp_path / "straight", tmp_path / "halves"
    options = options_of(stage, tiny_llama_dir, data, straight)
    with day(FIRST):
        run_exp(options)
        with pytest.raises(KeyboardInterrupt):
            run_exp(options | {"output_dir": str(halves)}, [InterruptAt(2)])
    with day(LATER):
        run_exp(options | {"output_dir": str(halves)})
    ours, theirs = load_file(halves / "model.safetensors"), load_file(straight / "model.safetensors")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    for kept in (halves, *halves.glob("checkpoint-*")):  # a checkpoint that is moved alone says its day too
        assert json.loads((kept / "tl_report.json").read_text("utf-8"))["date"] == FIRST, kept
    report = json.loads((halves / "tl_report.json").read_text("utf-8"))
    assert report["date"] == FIRST
    (first, *_) = report["served_prompt"]["findings"]
    assert report["served_prompt"]["compared"] == 3
    assert first["kind"] == "differs"
    assert first["trained"] != first["served"]

    with day(LATER):
        again = tmp_path / "again"
        run_exp(options | {"output_dir": str(again), "max_steps": 1})
    assert json.loads((again / "tl_report.json").read_text("utf-8"))["date"] == LATER


def test_the_exported_model_prompts_as_trained(
    tiny_llama_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And a run on it has nothing to say about its prompts."""
    data, output, exported = write_dated_data(tmp_path / "data"), tmp_path / "out", tmp_path / "exported"
    options = sft_options(tiny_llama_dir, data, output, **(STEPS | {"max_steps": 1}))
    with day(FIRST):
        run_exp(options)
    export = {"model_name_or_path": str(output), "template": "llama3", "export_dir": str(exported)}
    capsys.readouterr()
    export_model(export)
    printed = capsys.readouterr().out
    assert "The tokenizer's chat template renders what template llama3 trains, with tools and calls." in printed
    tokenizer = AutoTokenizer.from_pretrained(exported)
    tools = openai_tools(json.dumps([TOOL]))
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tools=tools, tokenize=False)
    assert "Today Date: 31 Dec 2025\n" in text
    with day(FIRST):
        run_exp(options | {"model_name_or_path": str(exported), "output_dir": str(tmp_path / "more")})
    report = json.loads((tmp_path / "more" / "tl_report.json").read_text("utf-8"))
    assert report["served_prompt"] == {"compared": 3, "findings": []}
