"""Ctrl-C and SIGTERM anywhere in a run: what is finished is kept, one line says how to go on, and that works.

Every second case is tried each time, all of them with ALL_TESTS=1.
"""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import mistake_runs
import mistakes
import option_runs
from llamafactory_ext.errors import InterruptedRun
from llamafactory_ext.training import stopping
from sampling import ALL

# Method, moment, the call of it, whether a checkpoint must be there afterwards.
CASES = [
    ("citi", "options", 1, False),
    ("citi", "tokenizer", 1, False),
    ("citi", "model", 1, False),
    ("citi", "importance", 3, False),
    ("citi", "step", 2, True),
    ("citi", "step", 4, True),
    ("citi", "save", 1, True),
    ("tl_sft", "options", 1, False),
    ("tl_sft", "model", 1, False),
    ("tl_sft", "step", 2, True),
    ("tl_sft", "evaluation", 1, True),
    ("tl_ppo", "model", 1, False),
    ("tl_ppo", "step", 2, True),
    ("tl_ppo", "rollout", 2, True),
    ("tl_ppo", "rollout", 1, True),
][:: 1 if ALL else 2]
SIGNALS = {signal.SIGINT: (130, "Ctrl-C"), signal.SIGTERM: (143, "SIGTERM")}
STEPS = {"max_steps": 3, "save_strategy": "steps", "save_steps": 1000, "logging_steps": 1}
EVALUATING = {"eval_strategy": "steps", "eval_steps": 1, "val_size": 0.25}


def options(method: str, moment: str, world: dict[str, str], out: Path) -> dict[str, Any]:
    """A run of three steps (in each phase) that saves at its end alone."""
    own = EVALUATING if moment == "evaluation" else {}
    places = {"model_name_or_path": world["model"], "dataset_dir": world["data"], "output_dir": str(out)}
    return {
        name: value
        for name, value in {**option_runs.BASE, **mistakes.METHODS[method], **STEPS, **own, **places}.items()
        if value is not None
    }


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Each case interrupted, repeated, and beside a run that nobody interrupted."""
    folder = tmp_path_factory.mktemp("stopping")
    world = option_runs.make_world(folder)
    firsts, seconds, keys = [], [], []
    for number, (method, moment, after, _) in enumerate(CASES):
        sent = (signal.SIGINT, signal.SIGTERM)[number % 2]
        path = folder / f"{number}.yaml"
        path.write_text(yaml.safe_dump(options(method, moment, world, folder / "out" / str(number))))
        words = ["train", str(path)]
        firsts.append({"words": words, "moment": moment, "signal": int(sent), "after": after})
        seconds.append({"words": words})
        keys.append((method, moment, after))
    for method, moment in dict.fromkeys((method, moment == "evaluation") for method, moment, *_ in CASES):
        path = folder / f"whole_{method}_{moment}.yaml"
        whole = options(method, "evaluation" if moment else "", world, folder / "out" / f"{method}_{moment}")
        path.write_text(yaml.safe_dump(whole))
        firsts.append({"words": ["train", str(path)]})
    first = _serve(firsts, folder / "first")
    kept = [_checkpoints(folder / "out" / str(number)) for number in range(len(CASES))]
    second = _serve(seconds, folder / "second")
    return {
        key: {
            **first[number],
            "checkpoints": kept[number],
            "again": second[number],
            "weights": _hash(folder / "out" / str(number)),
            "whole": _hash(folder / "out" / f"{key[0]}_{key[1] == 'evaluation'}"),
        }
        for number, key in enumerate(keys)
    }


def _serve(cases: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    folder.mkdir()
    (folder / "cases.json").write_text(json.dumps(cases))
    command = [sys.executable, mistake_runs.__file__, "cases.json", "results.json", "2"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: list[dict[str, Any]] = json.loads((folder / "results.json").read_text("utf-8"))
    return found


def _checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("checkpoint-*"))


def _hash(folder: Path) -> str:
    files = sorted(folder.glob("*model*.safetensors"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest() if files else "none"


@pytest.mark.parametrize(("method", "moment", "after", "saves"), CASES)
def test_interrupted(
    method: str, moment: str, after: int, saves: bool, results: dict[tuple[Any, ...], dict[str, Any]]
) -> None:
    run = results[method, moment, after]
    code, name = SIGNALS[signal.Signals(run["signal"])]
    assert run["code"] == code, run["printed"][-1500:]
    assert "Traceback" not in run["printed"]
    (line,) = [line for line in run["printed"].splitlines() if "Interrupted by" in line]
    assert line.startswith(f"Interrupted by {name}")
    assert "Repeat the command" in line
    assert bool(run["checkpoints"]) == saves
    assert not saves or any(name in line for name in run["checkpoints"]) or "phase rp is kept" in line


@pytest.mark.parametrize(("method", "moment", "after", "saves"), CASES)
def test_repeated(
    method: str, moment: str, after: int, saves: bool, results: dict[tuple[Any, ...], dict[str, Any]]
) -> None:
    """The same command goes on, to the same bits as a run that nobody interrupted."""
    run = results[method, moment, after]
    assert run["again"]["code"] == 0, run["again"]["printed"][-1500:]
    assert not saves or "esuming" in run["again"]["printed"]
    assert run["weights"] == run["whole"] != "none"


def test_a_signal_of_another_process_and_the_own_one_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torchrun hands a signal on to all processes: the first to hear of it tells the others after the step."""
    monkeypatch.setattr(stopping, "world", lambda: 2)
    stop = stopping.Stop()
    stop.patient = True
    stop.hear(signal.SIGTERM)
    stop.take(signal.SIGTERM, None)
    monkeypatch.setattr(stopping, "SAME", 0.0)
    with pytest.raises(InterruptedRun):
        stop.take(signal.SIGTERM, None)


def test_one_process_alone_is_stopped_by_the_second_signal() -> None:
    stop = stopping.Stop()
    stop.patient = True
    stop.take(signal.SIGINT, None)
    with pytest.raises(InterruptedRun):
        stop.take(signal.SIGINT, None)
