"""A whole comparison in this process: every method, cut off after every step, and again after files have changed."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from cl.comparisons import METHODS, TASKS, Here, plan_of, records, silent
from llamafactory_ext.cl.driver import run_plan
from llamafactory_ext.cl.parts import Plan
from llamafactory_ext.cl.pictures import heat_map, seen_so_far
from llamafactory_ext.cl.plan import read_plan
from llamafactory_ext.cl.report import as_markdown, as_page, write_report
from llamafactory_ext.errors import OptionError, UpstreamError
from llamafactory_ext.lab.methods import SHIPPED_MODEL
from llamafactory_ext.lab.sequences import SETS, write_sequence

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def whole(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, dict[str, Any], Here]:
    """All methods on three tasks; read-only."""
    plan = plan_of(tmp_path_factory.mktemp("whole"), tiny_llama_dir)
    here = Here()
    return plan, run_plan(plan, here, silent), here


def test_every_method_has_the_matrix_of_its_kind(whole: tuple[Plan, dict[str, Any], Here]) -> None:
    _, result, here = whole
    shapes = {
        name: [[cell is not None for cell in row] for row in method["runs"][0]["matrix"]]
        for name, method in result["methods"].items()
    }
    seen = [[True, True, False], [True, True, True], [True, True, True]]  # one task ahead, for the forward transfer
    assert shapes["data"] == shapes["seq_lora"] == shapes["replay"] == seen
    assert shapes["multi_task"] == [[False] * 3, [False] * 3, [True] * 3]
    assert shapes["per_task"] == [[True, False, False], [False, True, False], [False, False, True]]
    for name, method in result["methods"].items():
        (run,) = method["runs"]
        sequential = name in ("data", "seq_lora", "replay")
        assert all((run[key] is not None) == sequential for key in ("bwt", "forgetting", "fwt"))
        assert run["ap"] is not None
        assert run["general_change"] is not None
        assert {cell["n"] for cell in run["cells"].values()} == {4}
    assert len([line for line in here.done if line.startswith("train")]) == 3 * 3 + 1 + 3
    assert list(result["base"]) == [*TASKS, "general"]


def test_tasks_build_on_one_another_and_replay_mixes(whole: tuple[Plan, dict[str, Any], Here]) -> None:
    plan, _, _ = whole
    config = json.loads((plan.out / "data/seed-1/task-3/adapter/adapter_config.json").read_text("utf-8"))
    assert config["tasks"] == list(TASKS)
    for name, counts in {"seq_lora": [6, 6, 6], "replay": [6, 9, 12], "per_task": [6, 6, 6]}.items():
        files = [plan.out / name / "seed-1" / f"task-{t}" / "data/task.json" for t in (1, 2, 3)]
        assert [len(json.loads(file.read_text("utf-8"))) for file in files] == counts
    options = yaml.safe_load((plan.out / "per_task/seed-1/task-2/train.yaml").read_text("utf-8"))
    assert "adapter_name_or_path" not in options


def test_nothing_is_done_twice(whole: tuple[Plan, dict[str, Any], Here]) -> None:
    plan, result, _ = whole
    here = Here()
    assert run_plan(plan, here, silent) == result
    assert here.done == []


def test_the_report_says_what_was_measured(whole: tuple[Plan, dict[str, Any], Here]) -> None:
    plan, result, _ = whole
    text = as_markdown(result)
    assert "| replay (50% replayed) | 6 |" in text
    assert "| data | data | DATA, one run per task | arXiv:2502.11482 | - |" in text
    assert "| data | 1 | colours | layer 0 | " in text
    assert "\\" not in text
    assert "|  |" not in text
    assert text.count("\n| base | ") == 1 + len(METHODS)
    first = result["base"][TASKS[0]]
    assert f"| base | {first['score']:.3f} ± {first['se']:.3f} (n 4) |" in text
    assert text.count("## ") == len(METHODS) + 2
    paths = write_report(result, plan.out)
    assert [path.name for path in paths] == ["report.md", "report.html", "heatmap.png", "curves.png", "gates.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths[2:])
    page = paths[1].read_text("utf-8")
    assert page.count("data:image/png;base64,") == 3
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert page.count("<table>") == 1 + text.count("## ")


def test_curves_have_a_point_where_all_tasks_so_far_were_asked() -> None:
    assert seen_so_far({"matrix": [[0.5, None], [0.25, 0.75]]}) == [0.5, 0.5]
    assert seen_so_far({"matrix": [[None, 1.0], [None, 0.75]]}) == [None, None]


def test_killed_after_each_step_it_ends_with_the_same(tiny_llama_dir: Path, tmp_path: Path) -> None:
    changes = {"methods": {"data": METHODS["data"], "replay": METHODS["replay"]}}
    changes["order"] = ["numbers", "animals"]
    straight = run_plan(plan_of(tmp_path / "straight", tiny_llama_dir, **changes), Here(), silent)
    plan = plan_of(tmp_path / "cut", tiny_llama_dir, **changes)
    killed = 0
    while True:
        try:
            result = run_plan(plan, Here(ends=1), silent)
            break
        except KeyboardInterrupt:
            killed += 1
    assert killed == 2 * 2 * 2  # of nine steps the last run does one and ends
    assert result == straight


def test_a_changed_test_file_is_asked_again_and_changed_data_trained_again(
    tiny_llama_dir: Path, tmp_path: Path
) -> None:
    changes = {"methods": {"seq_lora": METHODS["seq_lora"]}, "order": ["numbers", "animals"]}
    plan = plan_of(tmp_path, tiny_llama_dir, **changes)
    first = run_plan(plan, Here(), silent)
    test = tmp_path / "animals" / "test.json"
    test.write_text(json.dumps(records("animals", 30, 8)), encoding="utf-8")
    here = Here()
    second = run_plan(plan, here, silent)
    assert here.done == ["answer base", "answer answers", "answer answers"]
    (run,) = second["methods"]["seq_lora"]["runs"]
    assert (run["cells"]["1,1"]["n"], run["cells"]["1,0"]) == (
        8,
        first["methods"]["seq_lora"]["runs"][0]["cells"]["1,0"],
    )
    (tmp_path / "animals" / "train.json").write_text(json.dumps(records("animals", 0, 8)), encoding="utf-8")
    here = Here()
    run_plan(plan, here, silent)
    assert here.done == ["train seq_lora/seed-1/task-2", "answer answers"]


def test_a_failed_training_names_its_log(tiny_llama_dir: Path, tmp_path: Path) -> None:
    def fails(command: Sequence[str], log: Path) -> None:
        if command[1] != "train":
            Here()(command, log)

    plan = plan_of(tmp_path, tiny_llama_dir, methods={"seq_lora": METHODS["seq_lora"]})
    with pytest.raises(UpstreamError, match=r"wrote no .*adapter_model.safetensors; read .*train.log"):
        run_plan(plan, fails, silent)


EXAMPLES = sorted(path.name for path in (ROOT / "examples/yaml/cl").glob("*.yaml"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two tasks, a seed, a step for each task and few items; the lab's model and sets where others are named."""
    raw = yaml.safe_load((ROOT / f"examples/yaml/cl/{name}").read_text("utf-8"))
    monkeypatch.chdir(tmp_path)
    write_sequence(Path("data/cl"))
    raw |= {"model": str(SHIPPED_MODEL)}
    for task, own in zip(raw["tasks"], SETS, strict=False):
        task |= {split: f"data/cl/{own}/{split}.json" for split in ("train", "test")}
    raw["train"] |= {"max_steps": 1, "per_device_train_batch_size": 4, "use_cpu": True, "bf16": False}
    raw["evaluate"] |= {"limit": 2}
    raw |= {"seeds": raw["seeds"][:1], "order": [task["name"] for task in raw["tasks"][:2]]}
    if "search" in raw:
        raw["search"] |= {"learning_rates": raw["search"]["learning_rates"][:1], "share": 0.02}
    Path("short.yaml").write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    result = run_plan(read_plan(Path("short.yaml")), Here(), silent)
    assert list(result["methods"]) == list(raw["methods"])
    bounds = ("multi_task", "per_task")
    assert all(
        (method["runs"][0]["bwt"] is None) == (method["kind"] in bounds) for method in result["methods"].values()
    )
    assert f"yaml/cl/{name}" in (ROOT / "examples/README.md").read_text("utf-8")


def test_somebodys_folder_stays(tiny_llama_dir: Path, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, tiny_llama_dir)
    plan.out.mkdir()
    (plan.out / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OptionError, match="holds something already"):
        run_plan(plan, Here(), silent)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("per_task", "per_task"),
        ("_a_", r"\_a\_"),
        ("a|b", r"a\|b"),
        ("a\nb", "a b"),
        ("sst-2", "sst-2"),
        ("a_ b", r"a\_ b"),
        ("<b>", r"\<b\>"),
    ],
)
def test_names_are_shown_as_they_are(name: str, shown: str) -> None:
    cell = {"score": 0.5, "n": 4, "se": 0.25}
    run = {"seed": 1, "matrix": [[0.5]], "cells": {"0,0": cell}, "steps": [1]}
    run |= dict.fromkeys(("ap", "bwt", "forgetting", "plasticity", "fwt", "general_change"))
    method = {"kind": "data", "share": 0.0, "runs": [run]}
    result = {"name": "x$y$", "tasks": [name], "base": {name: cell}, "methods": {"m": method}}
    assert f"| {shown} | 0.500 ± 0.250 (n 4) |" in as_markdown(result)
    assert f"<td>{html.escape(name)}</td><td>0.500 ± 0.250 (n 4)</td>" in as_page(result, {})
    figure = heat_map(result)
    assert figure.get_suptitle() == r"x\$y\$: score on each task after each task, seed 1"
    assert [axis.get_ylabel() for axis in figure.axes] == ["", "score"]
    figure.canvas.draw()
