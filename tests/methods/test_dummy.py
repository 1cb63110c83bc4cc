"""A further fine-tuning type and a further benchmark are a folder and a row each, and everything works with them."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import llamafactory_ext
from processes import run

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def facts(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What happened in a process with both rows."""
    folder = tmp_path_factory.mktemp("dummy")
    path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    done = run(
        [sys.executable, str(HERE / "dummy" / "life.py"), str(tiny_llama_dir), str(tiny_data_dir), str(folder)],
        folder,
        PYTHONPATH=path,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found: dict[str, Any] = json.loads((folder / "facts.json").read_text("utf-8"))
    return found


def test_nothing_of_the_package_knows_them() -> None:
    package = Path(llamafactory_ext.__file__).parent
    files = [file for file in package.rglob("*.py") if "DUMMY_TARGET_MODULES" not in file.read_text("utf-8")]
    assert len(files) > 400
    vllms = '"dummy" in load_format'
    texts = {str(file): file.read_text("utf-8").replace(vllms, "") for file in files}
    assert [file for file, text in texts.items() if re.search("dummy", text, re.IGNORECASE)] == []


def test_the_rows_are_right(facts: dict[str, Any]) -> None:
    assert facts["faults"] == []


def test_a_yaml_trains_it_in_its_phase(facts: dict[str, Any]) -> None:
    found = facts["training"]
    assert found["tensors"] > 2
    assert (found["finished"], found["method"]) == (True, "dummy")
    assert re.search(r"\| idle \| done \| 4/4 \|", found["table"]), found["table"]


def test_interrupted_is_uninterrupted(facts: dict[str, Any]) -> None:
    found = facts["training"]
    assert (found["interrupted"], found["state_then"], found["unfinished"]) == (True, "running", False)
    assert "Resuming phase idle from" in found["resumed"]
    assert found["equal"]


def test_the_adapter_off_is_the_base(facts: dict[str, Any]) -> None:
    assert facts["models"]["off_is_base"]


def test_the_export_is_the_adapter(facts: dict[str, Any]) -> None:
    assert facts["models"]["export_is_adapter"]


def test_its_benchmark_is_asked_scored_and_reported(facts: dict[str, Any]) -> None:
    found = facts["scores"]
    assert found["answers"] == 3
    assert [(figure["name"], figure["value"], figure["n"]) for figure in found["figures"]] == [("DN", 1.0, 3)]
    assert re.search(r"\| dummy run \| dummy/DN \| 100\.00 \|", found["reported"])


def test_help_lists_its_options(facts: dict[str, Any]) -> None:
    assert "--dummy_epochs" in facts["options"]["help"]
    assert "DUMMY: how it does nothing." in " ".join(facts["options"]["help"].split())


def test_all_conflicts_stand_in_one_message(facts: dict[str, Any]) -> None:
    wrong = facts["options"]["wrong"]
    assert "dummy_kind='awake': give one of idle, asleep" in wrong
    assert "dummy_epochs=-1: give a number above 0" in wrong
    assert "packing does not work with finetuning_type: dummy, which sleeps" in wrong
    assert "dummy_x is not an option; did you mean dummy_kind?" in wrong
    assert "dummy_epochs=2 is too long for dummy_kind: asleep" in facts["options"]["conflict"]


def test_the_board_has_its_panel(facts: dict[str, Any]) -> None:
    found = facts["options"]
    assert "dummy" in found["types"]
    assert found["form"] == {
        "dummy_kind": "asleep",
        "dummy_epochs": 0.5,
        "learning_rate": None,
        "finetuning_type": "dummy",
    }
    assert found["command"] == ["--dummy_kind", "asleep", "--dummy_epochs", "0.5"] or found["command"] == [
        "--dummy_epochs",
        "0.5",
        "--dummy_kind",
        "asleep",
    ]
