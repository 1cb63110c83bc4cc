"""A run whose template writes the day goes on on another day, with the first day's tokens and bits."""

from __future__ import annotations

from pathlib import Path

import pytest
from llamafactory.train.tuner import export_model
from transformers import AutoTokenizer

from llamafactory_ext.errors import CheckpointError
from other_day import FIRST, LATER, TOOL, day, write_dated_data
from runs import Interrupt, citi_options, equal, train


def test_citi(tiny_llama_dir: Path, tmp_path: Path) -> None:
    data = write_dated_data(tmp_path / "data")
    changes = {"template": "llama3", "dataset": "calls,talk", "save_strategy": "steps", "save_steps": 1}
    options = citi_options(tiny_llama_dir, data, tmp_path / "straight", max_steps=3, **changes)
    with day(FIRST):
        straight = train(options)
    assert straight.json("manifest.json")["date"] == FIRST
    options["output_dir"] = str(tmp_path / "halves")
    with day(FIRST), pytest.raises(KeyboardInterrupt):
        train(options, Interrupt("mi", "on_step_end", 2))
    with day(LATER):
        resumed = train(options)
    assert equal(resumed.weights(), straight.weights())
    exported = tmp_path / "exported"
    given = {"model_name_or_path": str(tiny_llama_dir), "adapter_name_or_path": str(resumed.path)}
    with day(LATER):
        export_model({**given, "finetuning_type": "citi", "template": "llama3", "export_dir": str(exported)})
    asked = [{"role": "user", "content": "Hi"}]
    text = AutoTokenizer.from_pretrained(exported).apply_chat_template(asked, tools=[TOOL], tokenize=False)
    assert "Today Date: 31 Dec 2025\n" in text
    assert resumed.json("manifest.json")["date"] == FIRST
    with day(LATER), pytest.raises(KeyboardInterrupt):
        train(options | {"overwrite_output_dir": True}, Interrupt("mi", "on_step_end", 2))
    with day(FIRST):
        anew = train(options)
    assert anew.json("manifest.json")["date"] == LATER
    assert not equal(anew.weights(), straight.weights()), "another day is other data"


def test_other_data_are_still_refused(tiny_llama_dir: Path, tmp_path: Path) -> None:
    data = write_dated_data(tmp_path / "data")
    changes = {"template": "llama3", "dataset": "calls,talk", "save_strategy": "steps", "save_steps": 1}
    options = citi_options(tiny_llama_dir, data, tmp_path / "out", max_steps=3, **changes)
    with day(FIRST), pytest.raises(KeyboardInterrupt):
        train(options, Interrupt("rp", "on_step_end", 2))
    (data / "talk.json").write_text((data / "talk.json").read_text("utf-8").replace("What", "Which"), "utf-8")
    with day(LATER), pytest.raises(CheckpointError, match="other training data"):
        train(options)


def test_citi_without_a_day(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path) -> None:
    run = train(citi_options(tiny_llama_dir, tiny_data_dir, tmp_path, max_steps=1, template="llama3_api_bank"))
    assert "date" not in run.json("manifest.json")
    assert not [line for line in run.said if "erved" in line], "no tools, nothing to compare"
