"""The lab's demonstration of PPO: its requests, its curves, and what it says when a run fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llamafactory_ext.errors import DataError, UpstreamError
from llamafactory_ext.lab import ppo, world
from llamafactory_ext.lab.ppo import Curve, draw_curves, learn, write_queries


def finish(folder: Path, *points: tuple[int, float, float, float]) -> None:
    """What a run leaves behind."""
    folder.mkdir(parents=True)
    history = [
        {"step": step, "eval_reward": reward, "eval_reward_se": error, "eval_part_correct": correct}
        for step, reward, error, correct in points
    ]
    history.append({"step": points[-1][0], "train_runtime": 12.5})
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    (folder / "train_results.json").write_text("{}")


def test_held_out_requests_are_in_no_training_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ppo, "QUERIES", 300)
    monkeypatch.setattr(ppo, "HELD_OUT", 60)
    write_queries(tmp_path)
    read = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("ppo_queries", "ppo_held_out")}
    sets = {name: {one["instruction"] + one["input"] for one in records} for name, records in read.items()}
    assert {name: len(records) for name, records in sets.items()} == {"ppo_queries": 300, "ppo_held_out": 60}
    assert not sets["ppo_queries"] & sets["ppo_held_out"]
    trained = {example.prompt for example in world.tool_training(1500, 1)}
    assert not {prompt.replace("\n", "") for prompt in trained} & {
        prompt.replace("\n", "") for prompt in sets["ppo_held_out"]
    }


def test_gains_are_measured_in_standard_errors_of_the_difference(tmp_path: Path) -> None:
    finish(tmp_path / "run", (0, -0.5, 0.03, 0.5), (10, 0.0, 0.03, 0.6), (20, 0.1, 0.04, 0.8))
    curve = Curve.read(tmp_path / "run", 3, 400)
    assert (curve.steps, curve.correct, curve.seconds) == ([0, 10, 20], [0.5, 0.6, 0.8], 12.5)
    gains = curve.gains()
    assert gains["reward"] == pytest.approx(0.6)
    assert gains["reward_in_standard_errors"] == pytest.approx(0.6 / 0.05)
    assert gains["correct_in_standard_errors"] == pytest.approx(0.3 / (0.25 / 400 + 0.16 / 400) ** 0.5, abs=0.01)
    assert curve.to_dict()["correct_standard_error"] == [0.025, 0.0245, 0.02]


def test_finished_runs_are_kept_and_summed_up(tmp_path: Path) -> None:
    for seed in (1, 2):
        finish(tmp_path / f"seed-{seed}", (0, -0.5, 0.03, 0.5), (30, 0.1, 0.04, 0.8))
    curves = learn(tmp_path, 2, sft=tmp_path)
    assert [curve.seed for curve in curves] == [1, 2]
    assert json.loads((tmp_path / "ppo.json").read_text())["runs"] == [curve.to_dict() for curve in curves]
    assert (tmp_path / "ppo.png").read_bytes()[:4] == b"\x89PNG"


def test_pictures_need_no_more_than_one_curve(tmp_path: Path) -> None:
    draw_curves([Curve(1, [0], [0.5], [0.0], [0.5], 400, 1.0)], tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 1000


def test_a_failed_run_names_its_log(tmp_path: Path) -> None:
    with pytest.raises(UpstreamError, match=r"seed-1\.log"):
        learn(tmp_path, 1, sft=tmp_path, overrides={"tl_clip": -1})
    assert "tl_clip" in (tmp_path / "seed-1.log").read_text()


def test_it_needs_a_clone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="clone"):
        learn(tmp_path, 1, root=tmp_path)
