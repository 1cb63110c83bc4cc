"""Two machines under torchrun, as upstream's own command starts it: one dies, and the command is repeated."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from checkpoint.resume_cases import METHODS, Model
from processes import BIN, environment, free_port, train_on_two, write_yaml
from runs import equal

LIMIT = 600


class Machine:
    """One of two machines, in a folder of its own.

    Args:
        folder: takes its log.
        configuration: of the run.
        number: NODE_RANK.
        variables: beside those that both kinds of start need.
    """

    def __init__(self, folder: Path, configuration: Path, number: int, **variables: str) -> None:
        self.log = folder / f"machine-{number}-{time.monotonic_ns()}.log"
        start = {"FORCE_TORCHRUN": "1", "NNODES": "2", "NODE_RANK": str(number), "NPROC_PER_NODE": "1"}
        tests = Path(__file__).parents[1]
        path = {"PYTHONPATH": f"{tests}:{tests.parent / 'src'}", "MASTER_ADDR": "127.0.0.1"}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [str(BIN / "llamafactory-cli"), "train", str(configuration)],
                cwd=folder,
                env=environment(**start, **path, **variables),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.log.read_text("utf-8", errors="replace")

    def die(self) -> None:
        """Lose all of its processes at once, torchrun and those it has started, which have sessions of their own."""
        for child in [*descendants(self.process.pid), self.process.pid]:
            os.kill(child, signal.SIGKILL)
        self.process.wait()

    def end(self) -> int:
        return self.process.wait(timeout=LIMIT)


def descendants(parent: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    found: list[int] = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *descendants(child)]
    return found


@contextmanager
def machines(*started: Machine) -> Iterator[None]:
    """Whatever happens, nothing of them is left."""
    try:
        yield
    finally:
        for machine in started:
            if machine.process.poll() is None:
                machine.die()


def wait_for(path: Path, *started: Machine) -> None:
    """Until a run has written this file."""
    deadline = time.monotonic() + LIMIT
    while not path.is_file():
        assert time.monotonic() < deadline, started[0].said[-3000:]
        assert all(machine.process.poll() is None for machine in started), started[0].said[-3000:]
        time.sleep(0.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("torchrun")


def written(folder: Path, name: str) -> Path:
    """The configuration of a run that takes some seconds, and makes many checkpoints."""
    model = folder / "model"
    if not model.is_dir():
        Model(tied=True, biased=False, dtype=torch.float32).save(model)
    make, own = METHODS["tl_sft-lora"]
    changes: dict[str, Any] = {"max_steps": 60, "save_steps": 5, "per_device_train_batch_size": 2}
    return write_yaml(folder / f"{name}.yaml", make(model, folder / "data", folder / name, **(own | changes)))


@pytest.fixture(scope="module")
def straight(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of the run without interruption, by two processes of one machine."""
    result = train_on_two(written(folder, "straight"))
    assert result.returncode == 0, result.stderr[-3000:]
    return load_file(folder / "straight" / "adapter_model.safetensors")


def test_a_killed_machine_and_the_repeated_command(folder: Path, straight: dict[str, torch.Tensor]) -> None:
    configuration, port = written(folder, "static"), str(free_port())
    first, second = (Machine(folder, configuration, number, MASTER_PORT=port) for number in (0, 1))
    with machines(first, second):
        wait_for(folder / "static" / "checkpoint-10" / "complete.json", first, second)
        second.die()
        assert first.end() == 2
    assert "Traceback" not in first.said, first.said[-3000:]
    assert first.said.count("repeat the command") == 1
    assert first.said.count("Another process of this run has ended") == 1
    assert not (folder / "static" / "adapter_model.safetensors").exists()
    assert "Running training" not in second.said, "one machine speaks"
    port = str(free_port())
    again = [Machine(folder, configuration, number, MASTER_PORT=port) for number in (0, 1)]
    with machines(*again):
        assert [machine.end() for machine in again] == [0, 0], again[0].said[-3000:] + again[1].said[-3000:]
    assert equal(load_file(folder / "static" / "adapter_model.safetensors"), straight)
