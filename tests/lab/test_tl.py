"""The miniature of TL-Training's ablation: its data, its rows, what each part adds, and what is not run again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.errors import CheckpointError, DataError, OptionError, UpstreamError
from llamafactory_ext.lab import ppo, tl
from llamafactory_ext.lab.methods import PACKAGE_ROOT
from llamafactory_ext.lab.ppo import Cost
from llamafactory_ext.lab.tl import HELD_OUT, VARIANTS, Pair, learn, summary, write_data
from llamafactory_ext.lab.trajectories import trajectories
from llamafactory_ext.tl.feedback import feedback_error

pytestmark = pytest.mark.fast


def first_output(record: Mapping[str, Any]) -> str:
    return str(record["conversations"][2]["value"])


def test_no_request_is_in_two_sets_and_only_training_begins_with_mistakes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tl, "REQUESTS", 120)
    monkeypatch.setattr(tl, "HELD_OUT", 60)
    write_data(tmp_path)
    sets = {path.stem: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert set(sets.pop("dataset_info")) == set(tl.SETS)
    shipped = sets.pop("lab_trajectories")
    assert shipped == json.loads((PACKAGE_ROOT / "data/lab_trajectories.json").read_text("utf-8"))
    trained = {record["conversations"][0]["value"] for record in shipped}
    for name in ("tl_requests", "tl_held_out"):
        assert not trained & {record["conversations"][0]["value"] for record in sets[name]}
    assert {name: len(records) for name, records in sets.items()} == {
        "tl_flawed": 300,
        "tl_requests": 120,
        "tl_held_out": 60,
    }
    asked = {record["conversations"][0]["value"] for records in sets.values() for record in records}
    assert len(asked) == 480
    wrong = {name: sum(bool(feedback_error(first_output(one))) for one in found) for name, found in sets.items()}
    assert wrong.pop("tl_flawed") == pytest.approx(270, abs=20)
    assert set(wrong.values()) == {0}


def test_mistakes_are_of_the_call_and_other_shares_change_no_shipped_file() -> None:
    outputs = [first_output(record) for record in trajectories(200, 9, 1.0, mistakes_only=True)]
    assert all("HTTP 503" not in output and "Response error" not in output for output in outputs)
    shipped = json.loads((PACKAGE_ROOT / "data/lab_trajectories.json").read_text("utf-8"))
    assert trajectories(20, 1) == shipped[:20]


def pair(variant: str, seed: int, correct: tuple[float, float]) -> Pair:
    return Pair(variant, seed, "x", (correct[0] - 1, correct[1] - 1), correct, (30.0, 90.0))


def test_rows_and_effects() -> None:
    """MAE adds 20 points, PKT 4, PPO 10, in every combination; one seed is 2 points better all over."""
    pairs = []
    for seed, luck in ((1, 0.0), (2, 0.02)):
        for variant in VARIANTS:
            share = 0.4 + 0.2 * variant.mae + 0.04 * variant.pkt + luck
            pairs.append(pair(variant.row, seed, (share, share + 0.1)))
    found = summary(pairs, 3)
    assert [row["name"] for row in found["rows"]] == [
        *("none", "irm", "mae", "mae_irm", "pkt", "pkt_irm", "mae_pkt", "all"),
    ]
    by_name = {row["name"]: row for row in found["rows"]}
    assert by_name["all"]["correct"] == {"mean": 75.0, "se": 1.0}
    assert by_name["none"]["reward"] == {"mean": -0.59, "se": 0.01}
    assert {part: one["correct"]["mean"] for part, one in found["effects"].items()} == {
        "mae": 20.0,
        "pkt": 4.0,
        "irm": 10.0,
    }
    assert found["effects"]["irm"] == {
        "seeds": 2,
        "reward": {"mean": 0.1, "se": 0.0},
        "correct": {"mean": 10.0, "se": 0.0},
    }
    assert found["missing"] == {variant.row: 1 for variant in VARIANTS}
    part = summary(pairs[:3], 1)
    assert part["missing"] == {"mae_pkt": 1}
    assert part["effects"]["mae"] == {"seeds": 0, "reward": None, "correct": None}
    assert part["rows"][0]["correct"] == {"mean": 40.0, "se": round((40 * 60 / HELD_OUT) ** 0.5, 2)}


def finish(folder: Path) -> None:
    """What a run leaves behind."""
    folder.mkdir(parents=True, exist_ok=True)
    points = ((0, -0.5, 0.3), (20, 0.1, 0.8))
    history: list[dict[str, float]] = [
        {"step": step, "eval_reward": reward, "eval_reward_se": 0.03, "eval_part_correct": correct}
        for step, reward, correct in points
    ]
    history.append({"step": 20, "train_runtime": 12.5})
    (folder / "trainer_state.json").write_text(json.dumps({"log_history": history}))


def test_pairs_are_trained_once_each_stage_with_its_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, str, str, Mapping[str, Any]]] = []

    def run(_: Path, yaml: str, folder: Path, options: Mapping[str, Any]) -> Cost:
        ran.append((yaml, folder.name, Path(str(options.get("model_name_or_path", ""))).name, options))
        finish(folder)
        return Cost(1.0, 2.0)

    monkeypatch.setattr(tl, "run_training", run)
    found = learn(tmp_path / "out", 1)
    assert [(yaml, name, start) for yaml, name, start, _ in ran] == [
        entry
        for one in VARIANTS
        for entry in (
            ("tl_sft_tiny.yaml", f"{one.row}-1", ""),
            ("tl_ppo_tiny.yaml", f"{one.further}-1", f"{one.row}-1"),
        )
    ]
    switches = {name: (options["tl_use_mae"], options["tl_use_pkt"]) for _, name, _, options in ran[::2]}
    assert switches == {
        "none-1": ("false", "false"),
        "mae-1": ("true", "false"),
        "pkt-1": ("false", "true"),
        "mae_pkt-1": ("true", "true"),
    }
    assert found["rows"][1]["correct"]["mean"] == 80.0
    assert (tmp_path / "out/tl.png").read_bytes()[:4] == b"\x89PNG"
    ran.clear()
    assert learn(tmp_path / "out", 1) == found
    assert not ran
    learn(tmp_path / "out", 1, overrides={"learning_rate": 1})
    assert len(ran) == 8


def test_a_failed_run_names_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise UpstreamError("none-1 failed")

    monkeypatch.setattr(ppo, "_train", fail)
    with pytest.raises(UpstreamError, match="none-1"):
        learn(tmp_path / "out", 1)
    assert not (tmp_path / "out/tl.json").exists()


@pytest.mark.parametrize("found", [{}, {"runs": [{"variant": "none"}]}, {"runs": [[]]}, []])
def test_a_foreign_table_is_named(found: Any, tmp_path: Path) -> None:
    path = tmp_path / "tl.json"
    path.write_text(json.dumps(found))
    with pytest.raises(CheckpointError, match=r"tl\.json holds no table of `lab tl`"):
        tl._kept([path])


def test_somebodys_file_is_kept_and_a_clone_is_needed(tmp_path: Path) -> None:
    (tmp_path / "tl.json").write_text("mine")
    with pytest.raises(OptionError, match=r"tl\.json"):
        learn(tmp_path, 1)
    with pytest.raises(DataError, match="clone"):
        learn(tmp_path / "other", 1, root=tmp_path)
