"""The lab's comparison of ways to learn tool use: its tasks, its curves, and what it keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.errors import CheckpointError, DataError, OptionError, UpstreamError
from llamafactory_ext.lab import ppo, rl
from llamafactory_ext.lab.place import FORMAT, MARK
from llamafactory_ext.lab.rl import ARMS, Point, ended_early, learn, write_tasks
from llamafactory_ext.tl.environments.protocol import ANSWER, Action
from llamafactory_ext.tl.environments.recorded import Recorded
from llamafactory_ext.toolcalls import detect, read_tools


def finish(folder: Path, success: float | None = None) -> None:
    """Leave behind what a run does."""
    folder.mkdir(parents=True)
    folder.with_name(f"{folder.name}.cost.json").write_text('{"wall": 20.0, "cpu": 12.0}')
    if success is not None:
        found = {"eval_success": success, "eval_reward": success / 2, "eval_turns": 3.0}
        (folder / "eval_results.json").write_text(json.dumps(found))


def finish_all(out: Path, seeds: int) -> None:
    """Leave behind what all runs do."""
    (out / MARK).write_text(json.dumps({"format": FORMAT}))
    for number in range(1, len(rl.START_LEGS) + 1):
        finish(out / f"start-{number}")
    finish(out / "start-played", 0.1)
    for arm in ARMS:
        for seed in range(1, seeds + 1):
            finish(out / f"{arm.name}-{seed}")
            each = arm.steps // arm.points
            for point in range(1, arm.points + 1):
                finish(out / f"{arm.name}-{seed}" / f"played-{each * point}", 0.1 + 0.1 * point)


def test_no_task_is_in_two_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rl, "HELD_OUT", 60)
    monkeypatch.setattr(rl, "STARTERS", 50)
    write_tasks(tmp_path)
    read = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    sets = {name: {one["conversations"][0]["value"] for one in read[name]} for name in read["dataset_info"]}
    assert sets["rl_right"] == sets.pop("rl_early")
    assert {name: len(found) for name, found in sets.items()} == {"lab_chains": 300, "rl_held_out": 60, "rl_right": 50}
    assert len(set.union(*sets.values())) == 410


def reward_of(record: dict[str, Any], turns: list[dict[str, str]]) -> float:
    """Return what a dialogue's turns earn in the world of a record."""
    roles = {"human": "user", "function_call": "function", "observation": "observation", "gpt": "assistant"}
    world, tools = Recorded(), read_tools(record["tools"])
    said = [{"role": roles[one["from"]], "content": one["value"]} for one in record["conversations"]]
    world.reset({**record, "turns": said})
    earned = 0.0
    for one in turns:
        if one["from"] == "function_call":
            calls = tuple(found.call for found in detect(one["value"], tools))
            earned += world.step(Action(one["value"], calls)).reward
        elif one["from"] == "gpt":
            earned += world.step(Action(one["value"], end=ANSWER)).reward
    return earned


def test_right_dialogues_earn_all_and_those_that_end_early_do_not() -> None:
    right = rl.chains(20, 5)
    early = list(ended_early(right))
    earned = [reward_of(record, one["conversations"]) for record, one in zip(right, early, strict=True)]
    assert [reward_of(record, record["conversations"]) for record in right] == [1.0] * 20
    assert [place % 10 < rl.EARLY for place in range(20)] == [reward < 1 for reward in earned]
    assert max(reward for reward in earned if reward < 1) == 0.25


def test_gains_are_in_standard_errors_of_the_difference() -> None:
    start, end = Point(0, 0.0, 0.5, 0.5, 3.0, 400), Point(10, 60.0, 0.8, 0.8, 3.0, 400)
    assert (start.error, end.error) == (0.025, 0.02)
    assert end.gain(start) == pytest.approx(0.3 / (0.025**2 + 0.02**2) ** 0.5)


def test_finished_runs_are_kept_and_summed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ppo, "_train", lambda *_: pytest.fail("it trains again"))
    finish_all(tmp_path, 2)
    curves = learn(tmp_path, 2)
    assert [(curve.arm, curve.seed) for curve in curves] == [(arm.name, seed) for seed in (1, 2) for arm in ARMS]
    assert [point.success for point in curves[0].points] == [0.1, 0.2, 0.3]
    assert [point.seconds for point in curves[0].points] == [0, 6, 12]
    assert json.loads((tmp_path / "rl.json").read_text())["runs"] == [curve.to_dict() for curve in curves]
    assert (tmp_path / "rl.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("damaged", ["start-1.cost.json", "start-played/eval_results.json", "sft-1.cost.json"])
def test_damaged_results_are_named(damaged: str, tmp_path: Path) -> None:
    finish_all(tmp_path, 1)
    (tmp_path / damaged).write_text('{"wall": []}')
    with pytest.raises(CheckpointError, match=damaged):
        learn(tmp_path, 1)


def test_nobodys_folder_is_trained_into(tmp_path: Path) -> None:
    (tmp_path / "group-1").mkdir()
    with pytest.raises(OptionError, match="group-1 is there already"):
        learn(tmp_path, 1)


def test_a_failed_run_names_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rl, "START_LEGS", ({"dataset": "rl_right", "learning_rate": -1},))
    with pytest.raises(UpstreamError, match=r"start-1\.log"):
        learn(tmp_path, 1)
    assert "learning_rate" in (tmp_path / "start-1.log").read_text()


def test_it_needs_a_clone_and_known_ways(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="clone"):
        learn(tmp_path, 1, root=tmp_path)
    with pytest.raises(OptionError, match="--arms other; take from group, single, sft, gae"):
        learn(tmp_path, 1, ["other"])
