"""Killed at any of 50 moments of saving and training, a run goes on and ends with the bits of one that was not.

A sample of the moments is tried each time, all of them with ALL_TESTS=1.
"""

from __future__ import annotations

import json
import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import tiny
from kills import STEPS, TRIED, Kill, Moment, choose
from processes import run
from runs import PHASES, WEIGHTS, Run, citi_options

DRIVER = Path(__file__).with_name("kill_driver.py")


@dataclass(frozen=True)
class Field:
    """All runs."""

    folder: Path
    moments: list[Moment]
    kills: list[Kill]


@pytest.fixture(scope="module")
def field(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Field:
    """The run without interruption, and those that were killed once and resumed."""
    folder = tmp_path_factory.mktemp("kills")
    options = citi_options(
        tiny_llama_dir,
        tiny.write_tiny_data(folder / "data", 2 * STEPS),
        folder / "straight",
        save_strategy="steps",
        save_steps=1,
        save_total_limit=2,
        citi_mi_epochs=1,
        lr_scheduler_type="cosine",
    )
    (folder / "options.json").write_text(json.dumps(options), encoding="utf-8")
    # With all moments a hundred runs: two minutes of one core, however long that is on a busy machine.
    command = [sys.executable, str(DRIVER), str(folder)]
    result = run(command, folder, limit=3600, JE_ARROW_MALLOC_CONF="background_thread:false")
    log = folder / "straight.log"
    assert result.returncode == 0, result.stderr[-3000:] + (log.read_text("utf-8")[-3000:] if log.is_file() else "")
    moments = [tuple(moment) for moment in json.loads((folder / "moments.json").read_text("utf-8"))]
    return Field(folder, moments, choose(moments))


def test_the_moments_are_spread(field: Field) -> None:
    assert len({kill.kill_at for kill in field.kills}) == 50
    chosen = [field.moments[kill.kill_at] for kill in field.kills]
    assert {stage for stage, _, _ in chosen} == {"start", *PHASES, "finish"}
    assert sum(kind != "training" for _, kind, _ in chosen) == 26
    for phase in PHASES:
        assert len({kind for stage, kind, _ in chosen if stage == phase}) == 8


def test_the_sample_holds_moments_of_every_phase_and_of_saving_and_training(field: Field) -> None:
    tried = [field.moments[field.kills[number].kill_at] for number in TRIED]
    assert {stage for stage, _, _ in tried} >= {"start", *PHASES}
    for phase in PHASES:
        assert {kind == "training" for stage, kind, _ in tried if stage == phase} == {True, False}


@pytest.mark.parametrize("number", TRIED)
def test_a_killed_run_goes_on(field: Field, number: int) -> None:
    kill = field.kills[number]
    found = json.loads((field.folder / f"{kill.name}.json").read_text("utf-8"))
    print(kill, field.moments[kill.kill_at])  # seen when the test fails
    assert found["killed"] == -signal.SIGKILL
    assert found["resumed"] == 0, (field.folder / f"{kill.name}.log").read_text("utf-8")[-3000:]
    straight, resumed = Run(field.folder / "straight"), Run(field.folder / kill.name)
    assert (resumed.path / WEIGHTS).read_bytes() == (straight.path / WEIGHTS).read_bytes()
    for phase in PHASES:
        adapters = [each.folder(phase) / "adapter" / WEIGHTS for each in (resumed, straight)]
        assert adapters[0].read_bytes() == adapters[1].read_bytes()
        assert losses(resumed, phase) == losses(straight, phase)
        logged = (resumed.folder(phase) / "trainer_log.jsonl").read_text("utf-8").splitlines()
        steps = [json.loads(line)["current_steps"] for line in logged]
        assert steps == sorted(steps)
    assert found["steps"] == missing(field.moments[: kill.kill_at]), "as many steps as were not saved yet"
    assert left_over(resumed.path) == []


def losses(run: Run, phase: str) -> list[tuple[float, ...]]:
    return [tuple(step[name] for name in ("step", "loss", "loss_router", "grad_norm")) for step in run.steps(phase)]


def missing(moments: list[Moment]) -> dict[str, int]:
    """Steps per phase that are in no checkpoint after these moments."""
    saved = dict.fromkeys(PHASES, 0)
    for _, kind, what in moments:
        phase = re.match(r"phase-\d-(\w+)/", what)
        if kind == "rename" and phase and (step := re.search(r"/checkpoint-(\d+)/complete.json$", what)):
            saved[phase[1]] = int(step[1])
        elif kind == "rename" and phase and what.endswith("/adapter"):
            saved[phase[1]] = STEPS
    return {phase: STEPS - steps for phase, steps in saved.items() if steps < STEPS}


def left_over(folder: Path) -> list[Any]:
    return [path for path in folder.rglob(".*") if path.suffix in (".tmp", ".old") or path.name == ".saving"]
