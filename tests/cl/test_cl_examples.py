"""Every YAML of `cl run` in the examples is read, with the files that its first lines say how to make."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llamafactory_ext.cl.kinds import KINDS, PROTECTED
from llamafactory_ext.cl.parts import Plan
from llamafactory_ext.cl.plan import read_plan
from llamafactory_ext.lab.sequences import write_sequence

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parents[2]
YAMLS = ROOT / "examples" / "yaml" / "cl"
NAMES = sorted(path.stem for path in YAMLS.glob("*.yaml"))


@pytest.fixture(autouse=True)
def _prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand where the examples are run from, with the lab's sets and API-Bank's domains."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "src").symlink_to(ROOT / "src")
    write_sequence(tmp_path / "data" / "cl")
    model = tmp_path / "models" / "Meta-Llama-3-8B-Instruct"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}", "utf-8")
    for domain in ("accounts", "health", "schedule", "finance"):
        folder = tmp_path / "data" / "cl" / "api_bank" / domain
        folder.mkdir(parents=True)
        for split in ("train", "test"):
            record = {"instruction": f"{domain} {split}", "input": "", "output": "[Call(a='b')]"}
            (folder / f"{split}.json").write_text(json.dumps([record]), "utf-8")


def read(name: str) -> Plan:
    return read_plan(YAMLS / f"{name}.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_read(name: str) -> None:
    plan = read(name)
    assert plan.name == name
    assert len(plan.tasks) >= 3


def test_one_example_has_every_kind_and_one_every_protection() -> None:
    assert {method.kind for method in read("rivals_tiny").methods} == set(KINDS)
    assert {method.protect for method in read("protect_tiny").methods} == {"", *PROTECTED}


def test_the_labs_comparisons_take_equal_steps() -> None:
    lab = [read(name) for name in NAMES if name.endswith("_tiny")]
    assert [plan.train.get("max_steps") for plan in lab] == [100] * 3
    assert all("max_steps" not in method.options for plan in lab for method in plan.methods)
