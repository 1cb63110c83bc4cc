"""A file is locked once at a time, with Linux' locks and with Windows' own."""

from __future__ import annotations

import os
import signal
import time
import types
from pathlib import Path

import pytest

from llamafactory_ext.checkpoint import locks

pytestmark = pytest.mark.fast


def windows(held: set[int]) -> types.SimpleNamespace:
    """Windows' module: a byte range belongs to who locked it first; a taken one is a PermissionError."""

    def locking(descriptor: int, mode: int, count: int) -> None:
        assert (mode, count) == (2, 1)
        assert os.lseek(descriptor, 0, os.SEEK_CUR) > 1 << 30, "a byte that somebody may want to write"
        if os.fstat(descriptor).st_ino in held:
            raise PermissionError(13, "Permission denied")
        held.add(os.fstat(descriptor).st_ino)

    return types.SimpleNamespace(locking=locking, LK_NBLCK=2)


@pytest.mark.parametrize("platform", ["linux", "windows"])
def test_the_second_to_ask_does_not_get_it(platform: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if platform == "windows":
        monkeypatch.setattr(locks, "fcntl", None)
        monkeypatch.setattr(locks, "msvcrt", windows(set()))
    with (
        (tmp_path / "a").open("ab") as first,
        (tmp_path / "a").open("ab") as second,
        (tmp_path / "b").open("ab") as other,
    ):
        assert [locks.lock(file) for file in (first, second, other)] == [True, False, True]
        first.write(b"line\n")
    assert (tmp_path / "a").read_bytes() == b"line\n"


def test_without_any_locks_it_is_always_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "fcntl", None)
    monkeypatch.setattr(locks, "msvcrt", None)
    with (tmp_path / "a").open("ab") as first, (tmp_path / "a").open("ab") as second:
        assert locks.lock(first)
        assert locks.lock(second)


def test_one_training_at_a_time_holds_a_folder(tmp_path: Path) -> None:
    """The second is refused, also from another process; the hold ends with its process, however it ends."""
    from types import SimpleNamespace

    from llamafactory_ext.errors import CheckpointError
    from llamafactory_ext.training.disks import held

    args = SimpleNamespace(do_train=True, output_dir=str(tmp_path / "out"))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with held(args, True):
            os.write(writing, b"x")
            time.sleep(600)
        os._exit(0)
    os.read(reading, 1)
    with pytest.raises(CheckpointError, match="another training is writing"), held(args, True):
        raise AssertionError
    with held(SimpleNamespace(do_train=False, output_dir=str(tmp_path / "out")), True):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with held(args, True):
        assert list((tmp_path / "out").iterdir()) == []
