"""What the Board tells of a CITI run at every moment, from the files the run writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llamafactory_ext.board.progress import read_logged, read_progress
from llamafactory_ext.board.showing import as_markdown, bar_label, headline, newest_figures, picture
from llamafactory_ext.upstream.patches.board.log import extend_log_callback

pytestmark = pytest.mark.fast

PHASES = [{"name": "rp", "title": "Router Pre-training"}, {"name": "mi", "title": "MOLoRA Improvement"}]


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    (tmp_path / "manifest.json").write_text(json.dumps({"phases": PHASES}))
    return tmp_path


def log(folder: Path, phase: str, *lines: dict[str, float]) -> None:
    (folder / phase).mkdir(exist_ok=True)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / phase / "trainer_log.jsonl").write_text(text + '{"current_steps": 9, "tot')


def finish(folder: Path, phase: str) -> None:
    (folder / phase / "adapter").mkdir(parents=True)
    (folder / phase / "adapter" / "complete.json").write_text("{}")


def test_no_run_no_progress(tmp_path: Path) -> None:
    assert read_progress(tmp_path / "absent") is None
    (tmp_path / "manifest.json").write_text('{"phases": [')
    assert read_progress(tmp_path) is None


def test_importance_comes_first(run_folder: Path) -> None:
    progress = read_progress(run_folder)
    assert progress is not None
    assert headline(progress, "en") == "Computing the importance of the components"
    assert headline(progress, "zh") == "正在计算组件重要性"
    assert progress.percentage == 0
    assert [phase.state for phase in progress.phases] == ["waiting", "waiting"]


def test_a_running_phase_its_steps_loss_and_routers(run_folder: Path) -> None:
    (run_folder / "selection.json").write_text("{}")
    first = {"current_steps": 2, "total_steps": 2, "loss": 0.02, "loss_router": 2.0}
    log(run_folder, "phase-1-rp", first | {"gate0_tool": 0.4, "gate0_general": 0.6})
    finish(run_folder, "phase-1-rp")
    lines = [
        {"current_steps": step, "total_steps": 4, "loss": 3.0 - step, "loss_lm": 2.9 - step, "gate0_tool": 0.25}
        for step in (1, 2)
    ]
    log(run_folder, "phase-2-mi", *lines)
    progress = read_progress(run_folder)
    assert progress is not None
    assert progress.running is progress.phases[1]
    assert progress.percentage == 75
    assert bar_label(progress, "en").startswith("MI 2/4")
    shown = as_markdown(progress, "en").splitlines()
    assert shown[0] == "**Phase MI (MOLoRA Improvement), 2 of 2**"
    assert shown[4] == "| rp | done | 2/2 | 0.0200 | 0.600 | 0.400 |"
    assert shown[5] == "| mi | running | 2/4 | 1.0000 | 0.750 | - |"
    losses, routers, weights = picture(progress).axes
    assert losses.lines[0].get_xydata().tolist() == [[3, 1.9], [4, 0.8999999999999999]]
    assert routers.lines[0].get_ydata().tolist() == [2.0]
    assert [line.get_label() for line in weights.lines[:2]] == ["tool data", "general data"]
    assert weights.lines[0].get_ydata().tolist() == [0.6, 0.75, 0.75]


def test_a_finished_run(run_folder: Path) -> None:
    (run_folder / "selection.json").write_text("{}")
    for phase in ("phase-1-rp", "phase-2-mi"):
        log(run_folder, phase, {"current_steps": 2, "total_steps": 2, "loss": 1.0})
        finish(run_folder, phase)
    progress = read_progress(run_folder)
    assert progress is not None
    assert headline(progress, "en") == "All phases are complete; writing the report"
    (run_folder / "adapter_model.safetensors").touch()
    progress = read_progress(run_folder)
    assert progress is not None
    assert headline(progress, "en") == bar_label(progress, "en") == "All phases are complete"
    assert progress.percentage == 100


def test_the_log_gets_what_our_trainers_report() -> None:
    """Upstream writes lines in another thread: a line must not take a later step's figures."""
    written: list[dict[str, float]] = []

    class Base:
        def __init__(self) -> None:
            self.queue: list[dict[str, float]] = []

        def on_log(self, args: object, state: object, control: object) -> None:
            self.queue.append({"current_steps": state.global_step, "loss": 1.0})  # type: ignore[attr-defined]

        def _write_log(self, output_dir: str, logs: dict[str, float]) -> None:
            written.append(logs)

    class State:
        def __init__(self) -> None:
            self.global_step, self.log_history = 0, [{"loss": 1.0}]

    callback, state = extend_log_callback(Base)(), State()
    for step in (1, 2, 3):
        state.global_step = step
        state.log_history = [{"loss": 1.0} if step == 3 else {"loss": 1.0, "gate0_tool": step / 10, "grad_norm": 5.0}]
        callback.on_log(None, state, None)
    for line in callback.queue:
        callback._write_log("", line)
    assert written == [
        {"current_steps": 1, "loss": 1.0, "gate0_tool": 0.1},
        {"current_steps": 2, "loss": 1.0, "gate0_tool": 0.2},
        {"current_steps": 3, "loss": 1.0},
    ]


def test_a_run_of_ppo_its_rewards_success_turns_and_lengths(tmp_path: Path) -> None:
    assert read_logged(tmp_path) is None
    log(tmp_path, ".", {"current_steps": 1, "total_steps": 4, "loss": 0.5})
    assert read_logged(tmp_path) is None  # a run without figures of ours is upstream's alone
    log(tmp_path, ".", {"current_steps": 1, "total_steps": 4, "loss": 0.5, "reward": 0.1})
    assert read_logged(tmp_path) is None  # so is one of its own `stage: ppo`
    turns = {"success": 0.25, "turns": 2.5, "response_tokens": 30.0, "episode_tokens": 90.0}
    lines = [{"current_steps": step, "total_steps": 4, "loss": 0.5, "reward": step / 10} | turns for step in (1, 2)]
    log(tmp_path, ".", *lines)
    progress = read_logged(tmp_path)
    assert progress is not None
    head, _, row = newest_figures(progress, "en").strip().splitlines()
    assert head == "| steps | loss | reward | success | turns | tokens of the policy | tokens of an episode |"
    assert row == "| 2/4 | 0.5000 | 0.200 | 0.250 | 2.500 | 30.000 | 90.000 |"
    assert newest_figures(progress, "zh").startswith("| 步数 | 损失 | 奖励 |")
    rewards, success, turns_of, tokens = picture(progress).axes
    assert rewards.lines[0].get_xydata().tolist() == [[1, 0.1], [2, 0.2]]
    assert (success.get_ylim(), turns_of.lines[0].get_ydata().tolist()) == ((-0.02, 1.02), [2.5, 2.5])
    assert [line.get_label() for line in tokens.lines] == ["the policy's", "of episodes"]
    # One turn at a time states no turns: there is a column for what is logged alone.
    log(tmp_path, ".", {"current_steps": 4, "total_steps": 4, "loss": 0.5, "reward": 1.0, "response_tokens": 3.0})
    progress = read_logged(tmp_path)
    assert progress is not None
    assert progress.finished
    assert newest_figures(progress, "en").splitlines()[0] == "| steps | loss | reward | tokens of the policy |"
    assert len(picture(progress).axes) == 2
