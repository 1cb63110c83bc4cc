"""The importance file: saved, loaded, reused, and refused when it is another model's or damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import llamafactory.train.tuner  # noqa: F401  # as the command does: upstream first
import psutil
import pytest
import torch
from datasets import Dataset

import tiny
from llamafactory_ext.citi import scoring
from llamafactory_ext.citi.importance_file import Importance, TaskScores
from llamafactory_ext.citi.scoring import group_by_task, sample_rows
from llamafactory_ext.errors import CheckpointError, DataError, OptionError
from runs import Run, citi_options, equal, train

SHAPES = {"a": [2, 3], "b": [3, 3], "c": [3, 2]}
TOOL = TaskScores("tool", 4, {"a": 1.0, "b": 2.0, "c": 5.0})
MATH = TaskScores("general", 3, {"a": 2.0, "b": 1.0, "c": 1.0})
WORDS = TaskScores("general", 3, {"a": 0.0, "b": 3.0, "c": 1.0})
FULL = Importance("base", SHAPES, {"reduction": "dataset"}, {"tool": TOOL, "math": MATH, "words": WORDS})


# The file


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    FULL.save(tmp_path / "sub" / "importance.json")
    assert Importance.load(tmp_path / "sub" / "importance.json") == FULL
    written = json.loads((tmp_path / "sub" / "importance.json").read_text("utf-8"))
    assert written["format"] == 1
    assert set(written["versions"]) == {"torch", "transformers", "llamafactory_ext"}


def test_both_scores_follow_the_paper() -> None:
    """M_h: normalised over components; C_h: the sum of the normalised scores of all general tasks."""
    assert FULL.tool_scores() == pytest.approx({"a": 1 / 8, "b": 2 / 8, "c": 5 / 8})
    assert FULL.general_scores() == pytest.approx({"a": 2 / 4, "b": 1 / 4 + 3 / 4, "c": 1 / 4 + 1 / 4})
    selection = FULL.select(0.34, 0.34)
    assert (selection.adapted, selection.tuned) == (("c",), ("a",))


def test_adding_a_task_leaves_the_old_one_alone() -> None:
    start = replace(FULL, tasks={"tool": TOOL})
    assert start.with_task("math", MATH).of("general") == {"math": MATH}
    assert start.of("general") == {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no importance file here"),
        ("{", "the importance file is damaged"),
        ("[1, 2]", "is no importance file"),
        ('{"format": 1}', "is no importance file"),
        ('{"format": 99, "tasks": {}}', "has format 99, this version reads 1"),
        (
            '{"format": 1, "base": "b", "shapes": {}, "settings": {}, "tasks": {"tool": {"mark": 1}}}',
            "is no importance",
        ),
        ('{"format": 1, "base": "b", "shapes": {}, "settings": {}, "tasks": [1]}', "is no importance file"),
    ],
)
def test_a_missing_or_malformed_file_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "importance.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError) as error:
        Importance.load(path)
    assert message in error.value.message
    assert str(path) in error.value.message


def test_scores_of_another_model_are_refused(tmp_path: Path) -> None:
    FULL.check(tmp_path, SHAPES)
    for shapes in ({**SHAPES, "b": [3, 4]}, {"a": [2, 3]}, {**SHAPES, "d": [1, 1]}):
        with pytest.raises(CheckpointError, match=r"belongs to another model \(base\): [bd] differs"):
            FULL.check(tmp_path, shapes)


@pytest.mark.parametrize("tasks", [{}, {"tool": TOOL}, {"math": MATH}, {"tool": TOOL, "more": TOOL, "math": MATH}])
def test_both_kinds_of_tasks_are_needed(tmp_path: Path, tasks: dict[str, TaskScores]) -> None:
    with pytest.raises(OptionError, match="one tool task and at least one general task are needed"):
        replace(FULL, tasks=tasks).check(tmp_path, SHAPES)


# Grouping and sampling


def marked(tasks: list[tuple[str, bool]]) -> Dataset:
    return Dataset.from_dict(
        {"citi_task": [task for task, _ in tasks], "citi_marks": [[1 + tool] for _, tool in tasks]}
    )


def test_all_tool_data_is_one_task() -> None:
    rows = marked([("api", True), ("math", False), ("more", True), ("code", False), ("math", False)])
    assert group_by_task(rows) == {
        "tool": ("tool", [0, 2]),
        "math": ("general", [1, 4]),
        "code": ("general", [3]),
    }


@pytest.mark.parametrize(("tool", "missing"), [(True, "general"), (False, "tool")])
def test_a_missing_kind_of_example_is_named(tool: bool, missing: str) -> None:
    with pytest.raises(DataError, match=f"the training data has no {missing} examples; add a data set"):
        group_by_task(marked([("math", tool)]))
    assert group_by_task(marked([("math", tool)]), both=False)


def test_a_general_task_called_tool_is_refused() -> None:
    with pytest.raises(DataError, match="a general example has the task 'tool'"):
        group_by_task(marked([("tool", True), ("tool", False)]))


def test_samples_are_seeded_and_without_replacement() -> None:
    rows = list(range(100, 200))
    chosen = sample_rows(rows, 30, seed=1)
    assert len(set(chosen)) == 30
    assert set(chosen) <= set(rows)
    assert chosen == sample_rows(rows, 30, seed=1) == sorted(chosen)
    assert chosen != sample_rows(rows, 30, seed=2)
    assert sample_rows(rows, 500, seed=1) == rows


# In a run


@pytest.fixture(scope="module")
def computed(tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(citi_options(tiny_llama_dir, tiny_data_dir, tmp_path_factory.mktemp("computed")))


@pytest.fixture
def no_scoring(monkeypatch: pytest.MonkeyPatch) -> None:
    def score(*_: Any) -> None:
        pytest.fail("importance is computed though a file was given")

    monkeypatch.setattr(scoring, "part_scores", score)


@pytest.mark.usefixtures("no_scoring")
def test_a_loaded_file_gives_the_same_run(
    computed: Run, tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "given.json"
    shutil.copy(computed.path / "importance.json", file)
    run = train(citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / "run", citi_importance_load=str(file)))
    assert run.json("selection.json") == computed.json("selection.json")
    assert equal(run.weights(), computed.weights())
    assert run.json("importance.json") == computed.json("importance.json"), "the adapter folder holds its importance"
    assert not any("does not say from how many tokens" in line for line in run.said)
    assert not any("come from other examples" in line for line in run.said)


@pytest.mark.usefixtures("no_scoring")
@pytest.mark.parametrize("change", [{"template": "alpaca"}, {"cutoff_len": 24}, {"max_samples": 8}])
def test_scores_of_other_examples_are_told(
    computed: Run, tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    file = computed.path / "importance.json"
    options = citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / "run", citi_phases="rp", max_steps=1)
    run = train(options | {"citi_importance_load": str(file)} | change)
    (line,) = [line for line in run.said if "come from other examples than this run trains on" in line]
    assert "(dataset: tiny then)" in line
    assert "leave out citi_importance_load" in line


@pytest.mark.usefixtures("no_scoring")
def test_a_file_of_an_earlier_version_is_told(
    computed: Run, tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path
) -> None:
    """It may have been written before the sums of several disks were guarded."""
    file, content = tmp_path / "old.json", computed.json("importance.json")
    del content["tasks"]["tool"]["tokens"]
    file.write_text(json.dumps(content))
    options = citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / "run", citi_phases="rp")
    run = train(options | {"citi_importance_load": str(file)})
    (line,) = [line for line in run.said if "does not say from how many tokens the scores of tool come" in line]
    assert "compute the file anew" in line


def test_the_place_to_save_is_honoured(
    computed: Run, tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "some" / "where.json"
    options = citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / "run", citi_phases="rp")
    run = train(options | {"citi_importance_save": str(file)})
    assert Importance.load(file).tasks == Importance.load(computed.path / "importance.json").tasks
    assert run.json("importance.json")["tasks"] == computed.json("importance.json")["tasks"], "the folder holds it too"


@pytest.mark.usefixtures("no_scoring")
def test_a_saved_file_is_taken_up_by_the_next_run(
    computed: Run, tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path
) -> None:
    """Same base, data and settings: a second run with the same citi_importance_save computes nothing."""
    file = tmp_path / "shared.json"
    shutil.copy(computed.path / "importance.json", file)
    options = citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / "run", citi_importance_save=str(file))
    assert equal(train(options).weights(), computed.weights())


def test_other_settings_are_computed_anew(
    computed: Run, tiny_llama_dir: Path, tiny_data_dir: Path, tmp_path: Path
) -> None:
    file = tmp_path / "shared.json"
    shutil.copy(computed.path / "importance.json", file)
    options = citi_options(
        tiny_llama_dir, tiny_data_dir, tmp_path / "run", citi_phases="rp", citi_importance_samples=2
    )
    train(options | {"citi_importance_save": str(file)})
    assert {task.examples for task in Importance.load(file).tasks.values()} == {2}


Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda data: data["shapes"].popitem(), OptionError, "belongs to another model"),
        (lambda data: data["tasks"].pop("tool"), OptionError, "has 0 tool and 2 general tasks"),
        (lambda data: data.pop("tasks"), OptionError, "is no importance file"),
        (lambda data: data["tasks"]["math"]["scores"].popitem(), OptionError, "model.layers"),
        (
            lambda data: data["tasks"]["tool"]["scores"].update({"model.layers.0.mlp.up_proj": "x"}),
            OptionError,
            "",
        ),
        (
            lambda data: data["tasks"]["tool"]["scores"].update({"model.layers.0.mlp.up_proj": None}),
            OptionError,
            "",
        ),
    ],
    ids=["other model", "no tool task", "no tasks", "score missing", "score no number", "score null"],
)
def test_a_file_that_does_not_fit_stops_the_run(
    computed: Run,
    tiny_llama_dir: Path,
    tiny_data_dir: Path,
    tmp_path: Path,
    change: Change,
    kind: type[Exception],
    message: str,
) -> None:
    data = computed.json("importance.json")
    change(data)
    file = tmp_path / "given.json"
    file.write_text(json.dumps(data), encoding="utf-8")
    options = citi_options(tiny_llama_dir, tiny_data_dir, tmp_path / "run", citi_importance_load=str(file))
    with pytest.raises(kind) as error:
        train(options)
    assert message in str(error.value)
    assert str(file) in str(error.value)
    assert not (tmp_path / "run").exists(), "nothing is written"


def test_the_file_of_another_architecture_is_refused(computed: Run, tiny_data_dir: Path, tmp_path: Path) -> None:
    phi3 = tiny.save_tiny_model(tmp_path / "phi3", "phi3")
    file = computed.path / "importance.json"
    options = citi_options(
        phi3,
        tiny_data_dir,
        tmp_path / "run",
        citi_importance_load=str(file),
        citi_top_ratio=0.5,
        citi_bottom_ratio=0.25,
    )
    with pytest.raises(OptionError, match="belongs to another model"):
        train(options)
    assert not (tmp_path / "run").exists()


# How much of it is chance


def test_stability_is_the_overlap_of_what_either_half_selects() -> None:
    def halves(first: dict[str, float], second: dict[str, float]) -> Importance:
        tasks = {"tool": replace(TOOL, halves=[first, second]), "math": replace(MATH, halves=[first, second])}
        return replace(FULL, tasks=tasks)

    agreeing = halves({"a": 1.0, "b": 2.0, "c": 5.0}, {"a": 2.0, "b": 3.0, "c": 9.0})
    assert agreeing.stability(0.34, 0.34) == (1.0, 1.0)
    opposed = halves({"a": 1.0, "b": 2.0, "c": 5.0}, {"a": 9.0, "b": 3.0, "c": 2.0})
    assert opposed.stability(0.34, 0.34) == (0.0, 0.0)
    assert opposed.stability(0.67, 0) == (1 / 3, 1.0)
    assert FULL.stability(0.34, 0.34) is None, "files of older versions have no halves"
    assert opposed.remarks(0.34, 0.34) == [
        "Stability, the Jaccard index of what either half of the examples alone would select: 0.00 for the adapted, "
        "0.00 for full tuning."
    ]
    assert opposed.remarks(0.34, 0.34, "random") == [], "a draw does not depend on the scores"


def test_vanishing_scores_are_warned_of() -> None:
    tasks = {"tool": replace(TOOL, vanishing=["b"]), "math": MATH}
    (remark,) = replace(FULL, shapes=SHAPES, tasks=tasks).remarks(0.34, 0.34)
    assert remark.startswith("Warning: the scores of 1 components (b) are rounding noise")


def test_both_halves_of_a_run_add_up(computed: Run) -> None:
    for task in computed.json("importance.json")["tasks"].values():
        first, second = task["halves"]
        for name, score in task["scores"].items():
            assert score == pytest.approx(first[name] + second[name], rel=1e-4) or score == pytest.approx(
                abs(first[name] - second[name]), rel=1e-2
            )


def test_16_bits_are_scored_where_float32_does_not_fit(
    tiny_data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.save_tiny_model(tmp_path / "model", dtype=torch.bfloat16)
    options = citi_options(model, tiny_data_dir, tmp_path / "run", citi_phases="rp", bf16=True)
    free = SimpleNamespace(available=0)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    run = train(options)
    assert run.json("importance.json")["settings"]["dtype"] == "model"
    assert any("does not fit into memory" in line for line in run.said)
    free.available = 1 << 40
    again = train(options | {"output_dir": str(tmp_path / "again")})
    assert again.json("importance.json")["settings"]["dtype"] == "float32"
