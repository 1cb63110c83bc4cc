"""Nothing is lost: whatever a command is told to write over, nothing but its own unfinished work ever changes."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

import sampling
from commands.test_usage import ALL
from invariants.writing_verbs import VERBS, Verb, call, content, fill
from sampling import sample

WRITING = {name: verb for name, verb in VERBS.items() if verb is not None}
QUICK = {name: verb for name, verb in WRITING.items() if not verb.is_long}
MINE = b"mine, not a command's\n"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, tiny_llama_dir: Path) -> Path:
    folder = tmp_path_factory.mktemp("verbs") / "filled"
    fill(folder, tiny_llama_dir)
    # Once in this process, for all that are forked from it.
    import llamafactory_ext.data.preview.examples
    import llamafactory_ext.figures.run
    import llamafactory_ext.lab.demo
    import llamafactory_ext.lab.ppo
    import llamafactory_ext.tl.statistics
    import llamafactory_ext.upstream.pipeline.previewing  # noqa: F401

    return folder


@pytest.fixture
def folder(filled: Path, tmp_path: Path) -> Path:
    shutil.copytree(filled, tmp_path / "here")
    return tmp_path / "here"


def written(verb: Verb, folder: Path) -> list[Path]:
    return [folder / name.format(out=verb.out) for name in verb.writes]


def test_every_command_has_a_row() -> None:
    """A new command says here whether it writes, and is then held to everything below."""
    assert {command.words.removeprefix("llamafactory-ext ") for command in ALL} == set(VERBS)


@pytest.mark.parametrize("name", QUICK)
def test_it_writes_and_writes_anew(name: str, folder: Path) -> None:
    verb, before = QUICK[name], content(folder)
    for _ in range(2):
        run = call(name, verb, folder, verb.out)
        assert run.wait() == 0, run.said()
        assert all(path.is_file() for path in written(verb, folder)), run.said()
    after = content(folder)
    changed = {path for path in before if after.get(path) != before[path]}
    assert changed <= {"data/dataset_info.json"}
    assert not [path for path in after if "llamafactory_ext.tmp" in path]


@pytest.mark.parametrize("name", WRITING)
def test_what_is_somebody_elses_stays(name: str, folder: Path) -> None:
    """A foreign file, a folder, a pipe and links in the place of each thing that it writes; two of them in turn."""
    verb = WRITING[name]
    puts = (_folder, _link, _fifo, _nowhere, _linked_folder)
    for number, path in enumerate(written(verb, folder), len(name)):
        for put in (_file, *(puts if sampling.ALL else (puts[number % 5],))):
            path.parent.mkdir(parents=True, exist_ok=True)
            put(path)
            before = content(folder)
            run = call(name, verb, folder, verb.out)
            assert run.wait() == 2, (path, put, run.said())
            assert "Traceback" not in run.said()
            assert content(folder) == before, (path, put)
            path.unlink() if path.is_symlink() or not path.is_dir() else shutil.rmtree(path)


def _file(path: Path) -> None:
    path.write_bytes(MINE)


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "mine").write_bytes(MINE)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _nowhere(path: Path) -> None:
    path.symlink_to(path.parent / "nothing here")


def _linked_folder(path: Path) -> None:
    (path.parent / "theirs").mkdir(exist_ok=True)
    path.symlink_to(path.parent / "theirs")


def _link(path: Path) -> None:
    (path.parent / "mine").write_bytes(MINE)
    path.symlink_to(path.parent / "mine")


@pytest.mark.parametrize("name", QUICK)
def test_what_it_reads_stays(name: str, folder: Path) -> None:
    """Each input and each file of a model as the place to write to; names of data sets by their stems."""
    verb, before = QUICK[name], content(folder)
    inputs = [path for path in before if (folder / path).is_file()]
    if name in ("data convert", "data mix"):
        inputs = ["calls", "sums", "dataset_info", ".llamafactory_ext", "../trajectories"]
    for path in sample(inputs, 2, seed=len(name)):
        run = call(name, verb, folder, path)
        assert run.wait() == 2, (path, run.said())
        assert "Traceback" not in run.said(), run.said()
        assert content(folder) == before, path


@pytest.mark.parametrize("name", [name for name, verb in WRITING.items() if verb.is_folder])
def test_a_models_folder_stays(name: str, folder: Path) -> None:
    """What a command writes into a folder does not belong among the files of a model."""
    verb, before = WRITING[name], content(folder)
    run = call(name, verb, folder, "model")
    assert run.wait() == 2, run.said()
    assert "is the folder of a model" in run.said() or "holds something already" in run.said()
    assert "Traceback" not in run.said(), run.said()
    assert content(folder) == before


@pytest.mark.parametrize("name", QUICK)
def test_a_changed_result_stays(name: str, folder: Path) -> None:
    """What a user has edited since is no longer the command's."""
    verb = QUICK[name]
    assert call(name, verb, folder, verb.out).wait() == 0
    path = written(verb, folder)[0]
    path.write_bytes(path.read_bytes() + MINE)
    before = content(folder)
    run = call(name, verb, folder, verb.out)
    assert run.wait() == 2, run.said()
    assert content(folder) == before


@pytest.mark.parametrize("name", QUICK)
def test_a_full_disk(name: str, folder: Path) -> None:
    """It says so in a line, keeps what was there, and works when there is room."""
    verb, before = QUICK[name], content(folder)

    def full() -> None:
        def fsync(_: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        os.fsync = fsync

    run = call(name, verb, folder, verb.out, full)
    assert run.wait() == 2, run.said()
    assert "Traceback" not in run.said()
    assert "No space left on device" in run.said()
    after = content(folder)
    assert {path: after.get(path) for path in before} == before
    assert call(name, verb, folder, verb.out).wait() == 0


@pytest.mark.parametrize("name", QUICK)
def test_a_second_writer(name: str, folder: Path) -> None:
    """Two at once: each ends well or in a line, and what they leave is what one leaves."""
    verb, before = QUICK[name], content(folder)
    runs = [call(name, verb, folder, verb.out) for _ in range(2)]
    codes = {run.wait() for run in runs}
    assert 0 in codes
    assert codes <= {0, 2}, runs[0].said()
    assert "Traceback" not in runs[0].said()
    assert call(name, verb, folder, verb.out).wait() == 0
    after = content(folder)
    assert {path for path in before if after.get(path) != before[path]} <= {"data/dataset_info.json"}
    assert not [path for path in after if "llamafactory_ext.tmp" in path]


@pytest.mark.parametrize("name", QUICK)
def test_kills(name: str, folder: Path) -> None:
    """Killed at any moment, what was there is there, and the same command does it."""
    verb, before = QUICK[name], content(folder)
    begun = time.monotonic()
    assert call(name, verb, folder, verb.out).wait() == 0
    lasts = time.monotonic() - begun
    moments = random.Random(name)
    for _ in range(20 if sampling.ALL else 2):
        run = call(name, verb, folder, verb.out)
        time.sleep(moments.random() * lasts)
        os.kill(run.number, signal.SIGKILL)
        run.wait()
        after = content(folder)
        assert {path for path in before if after.get(path) != before[path]} <= {"data/dataset_info.json"}
    run = call(name, verb, folder, verb.out)
    assert run.wait() == 0, run.said()
    assert not [path for path in content(folder) if "llamafactory_ext.tmp" in path]


def test_a_small_disk(folder: Path) -> None:
    """A disk of a few kilobytes, mounted; needs root."""
    place = folder / "small"
    place.mkdir()
    if os.getuid() != 0 or os.system(f"mount -t tmpfs -o size=8k tmpfs {place} 2>/dev/null") != 0:
        pytest.skip("a small disk cannot be mounted here: it needs root with the right to mount")
    try:
        for name, out in (("lab data", "small/lab"), ("importance plot", "small/map.png"), ("report", "small/tables")):
            run = call(name, QUICK[name], folder, out)
            assert run.wait() == 2, run.said()
            assert "No space left on device" in run.said()
            assert "Traceback" not in run.said()
    finally:
        os.system(f"umount {place}")
