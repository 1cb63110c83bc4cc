"""Importance ends once both halves of what a task has seen choose alike, task by task, and goes on after a death."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset

from llamafactory_ext.citi import scoring
from llamafactory_ext.citi.importance import PartScores
from llamafactory_ext.citi.importance_file import Importance, jaccard
from llamafactory_ext.citi.scoring import compute_importance, shapes_of
from llamafactory_ext.citi.selection import extremes
from llamafactory_ext.citi.stopping import FIRST, Stable, blocks
from tiny import tiny_model

pytestmark = pytest.mark.fast
TASKS = {"tool": (2, 150), "math": (1, 90), "words": (1, 20)}


def rows() -> Dataset:
    """Short random examples: tool data, a general task that is long, and one that is shorter than the first look."""
    draw = torch.Generator().manual_seed(0)
    found: dict[str, list[Any]] = {name: [] for name in ("input_ids", "labels", "citi_marks", "citi_task")}
    for task, (mark, count) in TASKS.items():
        for _ in range(count):
            ids = torch.randint(5, 380, (6,), generator=draw).tolist()
            found["input_ids"].append(ids)
            found["labels"].append([-100, -100, *ids[2:]])
            found["citi_marks"].append([mark] * 6)
            found["citi_task"].append(task)
    return Dataset.from_dict(found)


def collate(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    names = ("input_ids", "labels", "citi_marks")
    return {name: torch.tensor([example[name] for example in examples]) for name in names}


def compute(path: Path, stable: Stable | None, told: list[str] | None = None, start: Importance | None = None) -> Any:
    model = tiny_model(dtype=torch.float64)
    return compute_importance(
        model,
        rows(),
        collate,
        start or Importance("tiny", shapes_of(model), {}),
        samples=120,
        batch_size=16,
        reduction="dataset",
        seed=0,
        path=path,
        stable=stable,
        tell=(told if told is not None else []).append,
    )


def part(scores: dict[str, float], trained: int = 1) -> PartScores:
    return PartScores({name: torch.tensor(value) for name, value in scores.items()}, trained, (), torch.abs)


def test_each_block_is_as_long_as_all_before_it() -> None:
    drawn = torch.randperm(200, generator=torch.Generator().manual_seed(0)).tolist()
    found = list(blocks(drawn, growing=True))
    assert [len(block) for block in found] == [FIRST, FIRST, 200 - 2 * FIRST]
    assert sorted(row for block in found for row in block) == list(range(200))
    assert set(found[0]) == set(drawn[:FIRST]), "each beginning is a random sample"
    assert list(blocks(drawn, growing=False)) == [list(range(200))]


A = {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}


@pytest.mark.parametrize(
    ("mark", "second", "top", "bottom", "end", "stops"),
    [
        ("tool", A, 0.5, 0.25, "top", True),
        ("tool", {**A, "a": 2.0, "b": 5.0, "c": 0.1}, 0.5, 0.25, "top", True),  # the same two, in another order
        ("tool", {**A, "c": 9.0}, 0.5, 0.25, "top", False),
        ("tool", {**A, "a": 0.1}, 0.5, 0.25, "bottom", False),
        ("tool", {**A, "a": 0.1}, 0.5, 0.25, "random", True),  # nothing depends on the scores
        ("general", {**A, "c": 9.0}, 0.5, 0.25, "top", True),  # it decides what is tuned in full
        ("general", {**A, "a": 0.1}, 0.5, 0.25, "top", False),
        ("general", {**A, "a": 0.1}, 0.5, 0.0, "top", True),  # no phase uco
    ],
)
def test_a_task_is_asked_for_what_it_decides(
    mark: str, second: dict[str, float], top: float, bottom: float, end: Any, stops: bool
) -> None:
    stable = Stable(0.95, top, bottom, end)
    assert stable(mark, part(A), part(second)) is stops
    assert not stable(mark, part(A, 0), part(A)), "a half without a trained token says nothing"


def test_a_pass_ends_early_where_the_halves_agree_and_says_so(tmp_path: Path) -> None:
    """A threshold below 0 is met at the first look, one above 1 never."""
    told: list[str] = []
    early = compute(tmp_path / "early.json", Stable(-1.0, 0.2, 0.1), told)
    assert {name: task.examples for name, task in early.tasks.items()} == {"tool": 64, "math": 64, "words": 20}
    assert told == [
        "Importance of task tool is stable after 64 of 120 examples.",
        "Importance of task math is stable after 64 of 90 examples.",
    ]
    whole, full = compute(tmp_path / "whole.json", None), compute(tmp_path / "full.json", Stable(2.0, 0.2, 0.1))
    for name, task in whole.tasks.items():
        assert full.tasks[name].examples == task.examples == min(120, TASKS[name][1])
        assert full.tasks[name].tokens == task.tokens
        assert full.tasks[name].scores == pytest.approx(task.scores, rel=1e-9)
        assert early.tasks[name].tokens == 4 * early.tasks[name].examples


def test_it_looks_again_until_the_halves_agree(tmp_path: Path) -> None:
    """Each task but the last look ends with halves that choose alike."""
    found = compute(tmp_path / "importance.json", Stable(0.3, 0.3, 0.2))
    ended = {name: task for name, task in found.tasks.items() if task.examples < min(120, TASKS[name][1])}
    assert ended, "some task ends early"
    for task in ended.values():
        end, share = ("top", 0.3) if task.mark == "tool" else ("bottom", 0.2)
        first, second = (extremes(half, share, end) for half in task.halves)
        assert jaccard(first, second) >= 0.3


def test_an_interrupted_pass_goes_on_to_the_same_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stable = Stable(-1.0, 0.2, 0.1)
    straight = compute(tmp_path / "straight.json", stable)
    calls: list[int] = []
    score: Callable[..., PartScores] = scoring.part_scores

    def dying(*args: Any, **kwargs: Any) -> PartScores:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return score(*args, **kwargs)

    monkeypatch.setattr(scoring, "part_scores", dying)
    with pytest.raises(KeyboardInterrupt):
        compute(tmp_path / "cut.json", stable)
    kept = Importance.load(tmp_path / "cut.json")
    assert set(kept.tasks) == {"tool"}
    calls.clear()
    calls.extend([1] * 10)
    assert compute(tmp_path / "cut.json", stable, start=kept).tasks == straight.tasks
    assert len(calls) == 10 + 4, "two halves of each of the two tasks that were missing"
