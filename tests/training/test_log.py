"""A run's log: its settings once, no configuration of the model, unless `verbose: true` asks for everything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import mistake_runs
import mistakes
import option_runs

METHODS = ("citi", "tl_sft", "tl_ppo")
# Lines of a run of two steps in each phase, bars of progress, an example and the report included.
REPEATED = {"citi": 3}  # by each phase
MOST = {"citi": 180, "tl_sft": 120, "tl_ppo": 120}


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, bool], str]:
    folder = tmp_path_factory.mktemp("log")
    world = option_runs.make_world(folder)
    keys = [(method, verbose) for method in METHODS for verbose in (False, True)]
    cases: list[dict[str, Any]] = []
    for number, (method, verbose) in enumerate(keys):
        places = {"model_name_or_path": world["model"], "dataset_dir": world["data"]}
        options = {**option_runs.BASE, **mistakes.METHODS[method], **places, "output_dir": str(folder / str(number))}
        options |= {"verbose": True} if verbose else {}
        path = folder / f"{number}.yaml"
        path.write_text(yaml.safe_dump({name: value for name, value in options.items() if value is not None}))
        cases.append({"words": ["train", str(path)]})
    (folder / "cases.json").write_text(json.dumps(cases))
    command = [sys.executable, mistake_runs.__file__, "cases.json", "results.json", "2"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads((Path(folder) / "results.json").read_text("utf-8"))
    assert [run["code"] for run in found] == [0] * len(keys)
    return {key: run["printed"] for key, run in zip(keys, found, strict=True)}


@pytest.mark.parametrize("method", METHODS)
def test_settings_once_and_no_configuration(method: str, logs: dict[tuple[str, bool], str]) -> None:
    quiet, loud = logs[method, False], logs[method, True]
    assert quiet.count("Run: ") == loud.count("Run: ") == 1
    assert "Model config" not in quiet
    assert "Model config" in loud
    assert quiet.count("\n") < MOST[method] < loud.count("\n")


@pytest.mark.parametrize("method", METHODS)
def test_nothing_that_a_user_cannot_change_and_nothing_twice(method: str, logs: dict[tuple[str, bool], str]) -> None:
    """No token ids, no names that upstream gives transformers, no curve that a short run lacks; each line once."""
    quiet, loud = logs[method, False], logs[method, True]
    for words in ("No metric", "is deprecated", "input_ids:", "label_ids:"):
        assert words not in quiet
    assert "input_ids:" in loud or method == "tl_ppo"
    said = [line.partition(" >> ")[2] for line in quiet.splitlines() if " >> " in line]
    assert said
    assert [line for line in said if said.count(line) > REPEATED.get(method, 1)] == []
