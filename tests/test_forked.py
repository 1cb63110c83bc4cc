"""The server of commands: a command that it forks ends and prints as one that is started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import forked
import processes
from sampling import sample

COMMANDS = (
    ["llamafactory-ext", "nothing"],
    ["llamafactory-ext", "etapp", "cases"],
    ["llamafactory-cli", "train", "nothing.yaml"],
    ["bash", "-c", "llamafactory-ext examples --out shown | head -c 20; echo $?"],
)


@pytest.mark.parametrize("command", [*COMMANDS[:2], *sample(COMMANDS[2:], 1)], ids=" ".join)
def test_it_ends_as_one_that_is_started(command: list[str], tmp_path: Path) -> None:
    found = []
    for run in (forked.run, processes.run):
        folder = tmp_path / run.__module__
        folder.mkdir()
        done = run(command, folder)
        found.append((done.returncode, done.stdout, done.stderr, sorted(path.name for path in folder.iterdir())))
    assert found[0] == found[1]


def test_variables_that_steer_imports_start_the_command(tmp_path: Path) -> None:
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    (tmp_path / "difflib.py").write_text("raise SystemExit(9)", "utf-8")
    assert forked.run(["llamafactory-ext", "etapp", "cases"], tmp_path, PYTHONPATH=path).returncode == 9
