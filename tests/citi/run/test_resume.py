"""An interrupted run, repeated, goes on where it was and ends with the same bits."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llamafactory.train.tuner  # noqa: F401  # as the command does: upstream first
import pytest

import tiny
from forked import SCRIPT
from forked import run as run_process
from llamafactory_ext.citi import importance, scoring
from llamafactory_ext.citi.options import CitiArguments
from llamafactory_ext.citi.phases import phase_table
from llamafactory_ext.citi.run.folder import RunFolder
from llamafactory_ext.citi.selection import Selection
from llamafactory_ext.errors import CheckpointError, OptionError
from llamafactory_ext.training.parameters import parameter_group
from runs import PHASES, WEIGHTS, Interrupt, Run, Snapshots, citi_options, equal, train

STEPS = {"rp": 8, "mi": 16, "uco": 8}
MOVING = {"rp": {"router"}, "mi": {"router", "experts"}, "uco": {"backbone"}}
Options = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def options(tiny_llama_dir: Path, tiny_data_dir: Path) -> Options:
    """Two checkpoints in each epoch of eight steps."""

    def make(output: Path, **changes: Any) -> dict[str, Any]:
        settings = {"save_strategy": "steps", "save_steps": 3, "lr_scheduler_type": "cosine"}
        return citi_options(tiny_llama_dir, tiny_data_dir, output, **(settings | changes))

    return make


@pytest.fixture(scope="module")
def straight(options: Options, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run without interruption; read-only."""
    return train(options(tmp_path_factory.mktemp("straight")))


def interrupt(settings: dict[str, Any], *callbacks: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(settings, *callbacks)
    assert not (Path(settings["output_dir"]) / WEIGHTS).exists(), "the run must not look finished"


def resume(settings: dict[str, Any], straight: Run) -> tuple[Run, dict[str, int]]:
    """The same command again; it must end with the weights of the straight run. Returns steps done per phase."""
    seen = Snapshots()
    run = train(settings, seen)
    assert equal(run.weights(), straight.weights())
    for phase in PHASES:
        assert equal(run.adapter(phase), straight.adapter(phase))
    for phase, names in seen.trainable.items():
        assert {parameter_group(name) for name in names} == MOVING[phase]
    return run, seen.steps


# In each phase


@pytest.mark.parametrize("phase", PHASES)
def test_in_the_middle_of_an_epoch(options: Options, straight: Run, tmp_path: Path, phase: str) -> None:
    settings = options(tmp_path)
    interrupt(settings, Interrupt(phase, "on_step_end", 5))
    run, steps = resume(settings, straight)
    later = PHASES[PHASES.index(phase) + 1 :]
    assert steps == {phase: STEPS[phase] - 3, **{name: STEPS[name] for name in later}}
    folder = f"phase-{PHASES.index(phase) + 1}-{phase}"
    assert f"Resuming phase {phase} from {tmp_path / folder / 'checkpoint-3'}." in run.said
    done = PHASES[: PHASES.index(phase)]
    assert (f"Resuming: phases {', '.join(done)} are complete." in run.said) == bool(done)
    assert [step["step"] for step in run.steps(phase)] == list(range(1, STEPS[phase] + 1))


def test_after_the_last_checkpoint_of_a_phase_that_max_steps_ends(options: Options, tmp_path: Path) -> None:
    settings = {"max_steps": 3, "citi_phases": "mi", "citi_report_samples": 0}
    straight = train(options(tmp_path / "straight", **settings))
    interrupt(options(tmp_path / "resumed", **settings), Interrupt("mi", "on_save", 3))
    run = train(options(tmp_path / "resumed", **settings))
    assert equal(run.weights(), straight.weights())
    assert [step["step"] for step in run.steps("mi")] == [1, 2, 3]


def test_in_the_second_epoch_of_a_phase(options: Options, straight: Run, tmp_path: Path) -> None:
    settings = options(tmp_path)
    interrupt(settings, Interrupt("mi", "on_step_end", 14))
    _, steps = resume(settings, straight)
    assert steps == {"mi": 4, "uco": 8}


def test_again_and_again(options: Options, straight: Run, tmp_path: Path) -> None:
    settings = options(tmp_path)
    for phase, step in (("rp", 2), ("rp", 7), ("mi", 1), ("mi", 10), ("uco", 7)):
        interrupt(settings, Interrupt(phase, "on_step_end", step))
    _, steps = resume(settings, straight)
    assert steps == {"uco": 2}


def test_under_gradient_accumulation(options: Options, tmp_path: Path) -> None:
    settings = {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 1}
    expected = train(options(tmp_path / "straight", **settings))
    interrupt(options(tmp_path / "run", **settings), Interrupt("mi", "on_step_end", 7))
    _, steps = resume(options(tmp_path / "run", **settings), expected)
    assert steps == {"mi": 10, "uco": 8}


# With another choice


def test_an_importance_file_that_chooses_others_now_is_refused(
    options: Options, straight: Run, tmp_path: Path
) -> None:
    """Phases that are done have trained the components of then; adapters elsewhere would begin anew in silence."""
    file = tmp_path / "given.json"
    shutil.copy(straight.path / "importance.json", file)
    settings = options(tmp_path / "run", citi_importance_load=str(file))
    interrupt(settings, Interrupt("mi", "on_step_end", 5))
    kept = (tmp_path / "run" / "selection.json").read_bytes()
    content = straight.json("importance.json")
    for task in content["tasks"].values():
        task["scores"] = dict(zip(task["scores"], reversed(task["scores"].values()), strict=True))
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CheckpointError, match="began with other components than the importance file chooses now"):
        train(settings)
    assert (tmp_path / "run" / "selection.json").read_bytes() == kept
    shutil.copy(straight.path / "importance.json", file)
    resume(settings, straight)


@pytest.mark.parametrize("content", ["{}", "[]", '{"adapted": 3}', "x"])
def test_a_damaged_selection_of_a_run_is_named(options: Options, straight: Run, tmp_path: Path, content: str) -> None:
    shutil.copytree(straight.path, tmp_path / "run")
    (tmp_path / "run" / "selection.json").write_text(content, encoding="utf-8")
    folder = RunFolder(tmp_path / "run", phase_table(CitiArguments()))
    with pytest.raises(CheckpointError, match=r"selection\.json"):
        folder.check_selection(Selection.from_dict(straight.json("selection.json")))


# Between phases


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (Interrupt("mi", "on_train_begin"), {"mi": 16, "uco": 8}),
        (Interrupt("mi", "on_train_end"), {"uco": 8}),  # every step was saved, the phase's adapter was not
        (Interrupt("uco", "on_train_begin"), {"uco": 8}),
        (Interrupt("uco", "on_train_end"), {}),
    ],
    ids=["before mi", "end of mi", "before uco", "end of uco"],
)
def test_between_phases(
    options: Options, straight: Run, tmp_path: Path, moment: Interrupt, expected: dict[str, int]
) -> None:
    settings = options(tmp_path)
    interrupt(settings, moment)
    _, steps = resume(settings, straight)
    assert steps == expected


def stop(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["RunFolder.close", "write_outputs", "make_report"])
def test_after_training(
    options: Options, straight: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """While the first phase's adapter is put in place; in the report; while the last files are written."""
    settings = options(tmp_path, citi_report_samples=2)
    with monkeypatch.context() as patch:
        patch.setattr(f"llamafactory_ext.citi.run.workflow.{name}", stop)
        with pytest.raises(KeyboardInterrupt):
            train(settings, pictures=True)
    assert not (tmp_path / WEIGHTS).exists()
    _, steps = resume(settings, straight)
    assert steps == ({"mi": 16, "uco": 8} if name == "RunFolder.close" else {})


def test_while_the_result_is_copied_to_the_top(
    options: Options, straight: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, copy = options(tmp_path), shutil.copyfile

    def stop_at_weights(source: Path, target: Path) -> None:
        copy(source, target)
        if WEIGHTS in Path(target).name:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("llamafactory_ext.training.phased.shutil.copyfile", stop_at_weights)
        interrupt(settings)
    assert (tmp_path / "adapter_config.json").is_file()
    run, steps = resume(settings, straight)
    assert steps == {}
    assert [path.name for path in run.path.iterdir() if path.name.endswith(".tmp")] == []


# In importance


def test_in_importance(options: Options, straight: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, calls = options(tmp_path), []
    score = importance.part_scores

    def stop_at_second(*args: Any, **kwargs: Any) -> importance.PartScores:
        calls.append(args)
        if len(calls) == 3:  # two halves per task
            raise KeyboardInterrupt
        return score(*args, **kwargs)

    monkeypatch.setattr(scoring, "part_scores", stop_at_second)
    interrupt(settings)
    assert set(Run(tmp_path).json("importance.json")["tasks"]) == {"tool"}
    run, _ = resume(settings, straight)
    assert len(calls) == 3 + 4, "of three tasks the first is not computed again"
    assert run.json("importance.json") == straight.json("importance.json")


# Death, not an exception

KILL = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from llamafactory_ext.checkpoint import folders
write_json = folders.write_json
def die(path, data):
    if "phase-2-mi/checkpoint-6" in path.as_posix():
        os.kill(os.getpid(), signal.SIGKILL)  # before the checkpoint is marked as complete
    write_json(path, data)
folders.write_json = die
from runs import train
train(json.loads(Path(sys.argv[1]).read_text("utf-8")))
"""


def test_killed_in_the_middle_of_a_checkpoint(options: Options, straight: Run, tmp_path: Path) -> None:
    settings = options(tmp_path / "run")
    (tmp_path / "options.json").write_text(json.dumps(settings), encoding="utf-8")
    tests = str(Path(tiny.__file__).parent)
    (tmp_path / "kill.py").write_text(KILL, encoding="utf-8")
    result = run_process([SCRIPT, "kill.py", "options.json", tests], tmp_path)
    assert result.returncode == -signal.SIGKILL, result.stdout[-3000:] + result.stderr[-3000:]
    broken = tmp_path / "run" / "phase-2-mi" / "checkpoint-6"
    assert broken.is_dir()
    run, steps = resume(settings, straight)
    assert f"Skipping {broken}: it is not complete." in run.said
    assert steps == {"mi": 13, "uco": 8}


@pytest.mark.parametrize("damage", ["no mark", "cut weights without mark", "nothing in it"])
def test_incomplete_checkpoints_are_skipped_with_a_message(
    options: Options, straight: Run, tmp_path: Path, damage: str
) -> None:
    settings = options(tmp_path)
    interrupt(settings, Interrupt("mi", "on_step_end", 7))
    newest = tmp_path / "phase-2-mi" / "checkpoint-6"
    (newest / "complete.json").unlink()
    if damage == "cut weights without mark":
        content = (newest / WEIGHTS).read_bytes()
        (newest / WEIGHTS).write_bytes(content[: len(content) // 2])
    elif damage == "nothing in it":
        shutil.rmtree(newest)
        newest.mkdir()
    run, steps = resume(settings, straight)
    assert f"Skipping {newest}: it is not complete." in run.said
    assert steps == {"mi": 13, "uco": 8}


# Other settings


@pytest.fixture(scope="module")
def interrupted(options: Options, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that stopped in mi; read-only."""
    path = tmp_path_factory.mktemp("interrupted")
    interrupt(options(path), Interrupt("mi", "on_step_end", 4))
    return path


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_other_settings_are_refused_by_name(options: Options, interrupted: Path) -> None:
    before = contents(interrupted)
    changed = options(interrupted, citi_mi_lr=5e-3, per_device_train_batch_size=4, citi_router_scope="token")
    with pytest.raises(CheckpointError) as error:
        train(changed)
    message = error.value.message
    assert message.startswith(f"{interrupted} holds a run with other settings:")
    assert "  - citi_mi_lr: 0.01 then, 0.005 now" in message
    assert "  - per_device_train_batch_size: 2 then, 4 now" in message
    assert "  - citi_router_scope: 'batch' then, 'token' now" in message
    assert len(re.findall(r"^  - ", message, re.MULTILINE)) == 3
    assert "overwrite_output_dir: true" in message
    assert contents(interrupted) == before


@pytest.mark.parametrize(
    "change",
    [
        {"max_steps": 3},
        {"cutoff_len": 64},
        {"citi_phases": "rp,mi"},
        {"seed": 1},
        {"packing": True},
        {"max_samples": 8},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_shapes_the_outcome_counts(options: Options, interrupted: Path, change: dict[str, Any]) -> None:
    (name,) = change
    with pytest.raises(CheckpointError, match=f"  - {name}: "):
        train(options(interrupted, **change))


def test_what_shapes_nothing_may_change(options: Options, straight: Run, interrupted: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(interrupted, path)
    run = train(options(path, logging_steps=4, save_steps=5, citi_report_samples=1))
    assert equal(run.weights(), straight.weights())


def test_a_damaged_manifest_is_named(options: Options, interrupted: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(interrupted, path)
    (path / "manifest.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"manifest\.json: the manifest is damaged"):
        train(options(path))


def test_overwriting_starts_anew(options: Options, straight: Run, interrupted: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(interrupted, path)
    seen = Snapshots()
    run = train(options(path, citi_phases="rp", overwrite_output_dir=True), seen)
    assert seen.steps == {"rp": 8}
    assert [folder.name for folder in path.glob("phase-*")] == ["phase-1-rp"]
    assert run.json("manifest.json")["plan"]["citi_phases"] == ["rp"]
    assert equal(run.adapter("rp"), run.weights())
    selected = {name: weight for name, weight in straight.adapter("rp").items() if ".molora_" in name}
    assert equal(run.weights(), selected)


def test_a_finished_run_is_refused(options: Options, straight: Run) -> None:
    before = contents(straight.path)
    with pytest.raises(OptionError, match="holds a finished run; choose another folder, or set overwrite_output_dir"):
        train(options(straight.path))
    assert contents(straight.path) == before


def test_a_folder_of_another_kind_of_run_is_refused(options: Options, tmp_path: Path) -> None:
    (tmp_path / "checkpoint-7").mkdir()
    with pytest.raises(OptionError, match="holds checkpoints of another kind of run"):
        train(options(tmp_path))
