"""Checkpoints are published whole and marked last; damaged ones are skipped by name; old ones go in order."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from llamafactory_ext.checkpoint import atomic, folders
from llamafactory_ext.checkpoint.folders import (
    COMPLETE,
    PUBLISHING,
    check_adapter,
    discard_checkpoints,
    find_fault,
    newest_checkpoint,
    publish_checkpoint,
    remove_leftovers,
    remove_old,
    seal_adapter,
    seal_folder,
    sealing,
)
from llamafactory_ext.errors import CheckpointError

pytestmark = pytest.mark.fast


def save(folder: Path, step: int, **facts: Any) -> Path:
    """A checkpoint as the trainer makes it."""
    staged = folder / ".saving" / f"checkpoint-{step}"
    (staged / "engine").mkdir(parents=True)
    (staged / "weights.safetensors").write_bytes(bytes(1000) + str(step).encode())
    (staged / "engine" / "shard").write_bytes(b"x" * step)
    publish_checkpoint(staged, folder / f"checkpoint-{step}", {"step": step, **facts})
    return folder / f"checkpoint-{step}"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Publishing


def test_a_published_checkpoint_is_complete_and_lists_its_files(tmp_path: Path) -> None:
    path = save(tmp_path, 3)
    assert find_fault(path) is None
    assert names(tmp_path) == ["checkpoint-3"]
    mark = json.loads((path / COMPLETE).read_text("utf-8"))
    assert mark["step"] == 3
    assert {name: facts["bytes"] for name, facts in mark["files"].items()} == {
        "engine/shard": 3,
        "weights.safetensors": 1001,
    }


def test_files_are_synced_before_the_rename_and_the_mark_comes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, rename, replace = os.fsync, os.rename, os.replace

    def name_of(descriptor: int) -> str:
        return Path(f"/proc/self/fd/{descriptor}").readlink().name

    monkeypatch.setattr(os, "fsync", lambda file: (events.append(f"sync {name_of(file)}"), fsync(file)))
    monkeypatch.setattr(os, "rename", lambda *paths: (events.append(f"rename {paths[1].name}"), rename(*paths)))
    monkeypatch.setattr(os, "replace", lambda *paths: (events.append(f"replace {paths[1].name}"), replace(*paths)))
    save(tmp_path, 3)
    before = events[: events.index("rename checkpoint-3")]
    assert {"sync weights.safetensors", "sync shard", "sync engine", "sync checkpoint-3"} <= set(before)
    after = events[len(before) + 1 :]
    assert [re.sub(r"\.[0-9a-f]{12}\.", ".*.", event) for event in after] == [
        f"sync {tmp_path.name}",
        f"sync .{COMPLETE}.*.llamafactory_ext.tmp",
        f"replace {COMPLETE}",
        "sync checkpoint-3",
    ]


def test_an_older_checkpoint_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    path = save(tmp_path, 3)
    (path / "stale").write_text("old")
    (path / "weights.safetensors").write_bytes(b"cut")
    save(tmp_path, 3)
    assert find_fault(path) is None
    assert not (path / "stale").exists()
    assert names(tmp_path) == ["checkpoint-3"]


# Finding


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (lambda path: (path / COMPLETE).unlink(), "it is not complete"),
        (lambda path: (path / COMPLETE).write_text('{"files": {'), "its complete.json is damaged"),
        (lambda path: (path / COMPLETE).write_text("{}"), "its complete.json is damaged"),
        (lambda path: (path / COMPLETE).write_text("[]"), "its complete.json is damaged"),
        (lambda path: (path / COMPLETE).write_text('{"files": {"a": 1}}'), "its complete.json is damaged"),
        (lambda path: (path / "engine" / "shard").unlink(), "its engine/shard is missing"),
        (lambda path: cut(path / "weights.safetensors"), "its weights.safetensors has 1,001 bytes instead of 1,002"),
        (lambda path: flip(path / "weights.safetensors"), "its weights.safetensors is damaged"),
    ],
    ids=["no mark", "cut mark", "empty mark", "list", "no facts", "missing", "cut", "flipped bit"],
)
def test_damage_is_found_and_said(tmp_path: Path, damage: Callable[[Path], None], fault: str) -> None:
    save(tmp_path, 3)
    path = save(tmp_path, 20)
    damage(path)
    assert find_fault(path) == fault
    assert newest_checkpoint(tmp_path) == (tmp_path / "checkpoint-3", [f"Skipping {path}: {fault}."])


def test_more_files_than_listed_do_no_harm(tmp_path: Path) -> None:
    path = save(tmp_path, 3)
    (path / "notes.txt").write_text("mine")
    assert find_fault(path) is None


def test_the_newest_is_found_by_its_number(tmp_path: Path) -> None:
    for step in (3, 20, 9):
        save(tmp_path, step)
    (tmp_path / "checkpoint-100").mkdir()
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "checkpoint-200").write_text("a file")
    (tmp_path / ".saving" / "checkpoint-300").mkdir(parents=True)
    expected = [f"Skipping {tmp_path / 'checkpoint-100'}: it is not complete."]
    assert newest_checkpoint(tmp_path) == (tmp_path / "checkpoint-20", expected)
    assert newest_checkpoint(tmp_path / "none") == (None, [])


def test_weights_alone_cannot_be_resumed_from(tmp_path: Path) -> None:
    save(tmp_path, 3, resumable=True)
    path = save(tmp_path, 6, resumable=False)
    assert newest_checkpoint(tmp_path) == (tmp_path / "checkpoint-3", [f"Skipping {path}: it holds weights only."])


def together(calls: list[Callable[[Callable[[int], int]], Any]]) -> list[Any]:
    """Runs each call in a thread of its own with a `lowest` over all of them."""
    barrier = threading.Barrier(len(calls), timeout=20)
    numbers: list[int] = [0] * len(calls)
    results: list[Any] = [None] * len(calls)

    def work(rank: int) -> None:
        def lowest(number: int) -> int:
            numbers[rank] = number
            barrier.wait()
            found = min(numbers)
            barrier.wait()
            return found

        results[rank] = calls[rank](lowest)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize(
    ("first", "second", "common"),
    [((3, 6, 9), (3, 6), 6), ((3, 9), (3, 6), 3), ((6,), (3,), None), ((), (3,), None), ((3, 6), (3, 6), 6)],
)
def test_processes_with_disks_of_their_own_agree(
    tmp_path: Path, first: tuple[int, ...], second: tuple[int, ...], common: int | None
) -> None:
    """Four processes on two machines; only one on each machine looks at the disk."""
    disks = [tmp_path / "a", tmp_path / "b"]
    for disk, steps in zip(disks, (first, second), strict=True):
        disk.mkdir()
        for step in steps:
            save(disk, step)

    def process(disk: Path, check: bool) -> Callable[[Callable[[int], int]], Any]:
        return lambda lowest: newest_checkpoint(disk, check=check, lowest=lowest)

    results = together([process(disk, check) for disk in disks for check in (True, False)])
    expected = [None if common is None else disk / f"checkpoint-{common}" for disk in disks for _ in (1, 2)]
    assert [found for found, _ in results] == expected
    newer = [step for step in first if common is None or step > common]
    lines = [f"Skipping {disks[0] / f'checkpoint-{step}'}: other processes do not have it." for step in newer]
    assert results[0][1] == lines[::-1]


# Removing


@pytest.mark.parametrize(
    ("limit", "best", "kept"),
    [
        (None, None, [3, 6, 9, 12]),
        (0, None, [3, 6, 9, 12]),
        (1, None, [12]),
        (2, None, [9, 12]),
        (9, None, [3, 6, 9, 12]),
        (1, 3, [3, 12]),
        (2, 3, [3, 12]),
        (3, 3, [3, 9, 12]),
        (2, 12, [9, 12]),
    ],
)
def test_old_ones_go_and_the_newest_and_the_best_stay(
    tmp_path: Path, limit: int | None, best: int | None, kept: list[int]
) -> None:
    for step in (3, 6, 9, 12):
        save(tmp_path, step)
    remove_old(tmp_path, limit, None if best is None else str(tmp_path / f"checkpoint-{best}"))
    assert sorted(int(name.rpartition("-")[2]) for name in names(tmp_path)) == kept


def test_a_damaged_newer_one_never_costs_the_newest_complete_one(tmp_path: Path) -> None:
    """A resumed run has gone on from step 3 past a damaged step 9; by number alone, 9 would be the one to keep."""
    save(tmp_path, 3)
    (save(tmp_path, 9) / COMPLETE).rename(tmp_path / "checkpoint-9" / PUBLISHING)
    save(tmp_path, 4)
    remove_old(tmp_path, 1, None)
    assert names(tmp_path) == ["checkpoint-4"]


def test_a_half_removed_checkpoint_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (3, 6):
        save(tmp_path, step)

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(atomic.shutil, "rmtree", lambda path, **options: die() if path.exists() else None)
        with pytest.raises(KeyboardInterrupt):
            remove_old(tmp_path, 1, None)
    left, kept = names(tmp_path)
    assert re.fullmatch(r"\.checkpoint-3\.[0-9a-f]{12}\.llamafactory_ext\.old", left)
    assert kept == "checkpoint-6"
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["checkpoint-6"]


def test_leftovers_of_a_killed_save_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 3)

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(folders, "publish_folder", die)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, 6)
    (tmp_path / ".trainer_log.jsonl.tmp").write_text("half")
    assert newest_checkpoint(tmp_path) == (tmp_path / "checkpoint-3", [])
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["checkpoint-3"]


def foreign(folder: Path) -> dict[str, str]:
    """What a user may keep beside checkpoints, under names that look like ours."""
    for name in (
        "checkpoint-5",
        "checkpoint-best",
        "checkpoint-7-mine",
        ".backup.old",
        "phase-1-notes",
        ".saving/mine",
    ):
        (folder / name).mkdir(parents=True)
        (folder / name / "weights.safetensors").write_text(name)
    (folder / "checkpoint-5" / "trainer_state.json").write_text("{}")
    for name in (".notes.tmp", ".a.json.tmp", ".x.old", "checkpoint-8", ".checkpoint-9.tmp"):
        (folder / name).write_text(name)
    return content(folder)


def content(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_nothing_of_others_is_ever_removed(tmp_path: Path) -> None:
    """Neither by save_total_limit, nor as leftovers, nor where a run starts anew."""
    theirs = foreign(tmp_path)
    other = save(tmp_path, 2, run="another run")
    kept = content(tmp_path)
    for step in (3, 6, 10):
        save(tmp_path, step, run="mine")
        remove_old(tmp_path, 1, None, "mine")
    remove_leftovers(tmp_path)
    assert {name: text for name, text in content(tmp_path).items() if "checkpoint-10" not in name} == kept
    assert other.is_dir()
    discard_checkpoints(tmp_path)
    assert content(tmp_path) == theirs


def test_leftovers_of_earlier_versions_go_by_their_exact_names(tmp_path: Path) -> None:
    for name in (".checkpoint-3.old", ".adapter.old", ".phase-1-rp.old", ".closing.tmp"):
        (tmp_path / name).mkdir()
    for name in (".importance.json.tmp", ".complete.json.tmp", ".adapter_model.safetensors.tmp"):
        (tmp_path / name).write_text("half")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == []


def test_an_adapter_that_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    tensors = {f"base_model.model.a.lora_{part}.weight": torch.ones(2, 2) for part in "AB"}
    (tmp_path / "adapter_config.json").write_text("{}")
    with sealing(tmp_path, writes=True):
        save_file(tensors, tmp_path / "adapter_model.safetensors")
    check_adapter(tmp_path)
    save_file(dict([tensors.popitem()]), tmp_path / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match="is not what was saved"):
        check_adapter(tmp_path)
    with sealing(tmp_path, writes=False):  # another process of a run, which does not save
        pass
    assert names(tmp_path) == ["adapter_config.json", "adapter_model.safetensors", "adapter_seal.json"]
    with pytest.raises(RuntimeError), sealing(tmp_path, writes=True):
        raise RuntimeError  # killed while it saves: no seal speaks of files that are half new
    assert names(tmp_path) == ["adapter_config.json", "adapter_model.safetensors"]


def test_a_whole_model_has_no_seal(tmp_path: Path) -> None:
    with sealing(tmp_path, writes=True):
        (tmp_path / "config.json").write_text("{}")
    assert names(tmp_path) == ["config.json"]


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_a_damaged_adapter_is_refused(tmp_path: Path, name: str) -> None:
    for file in ("adapter_model.safetensors", "adapter_config.json", "README.md"):
        (tmp_path / file).write_bytes(bytes(1000))
    check_adapter(tmp_path)  # of PEFT, or of an earlier version
    seal_adapter(tmp_path)
    (tmp_path / "README.md").write_text("mine")
    check_adapter(tmp_path)
    flip(tmp_path / name)
    with pytest.raises(CheckpointError, match=f"{name} is not what was saved"):
        check_adapter(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is not what was saved"):
        check_adapter(tmp_path)


def test_a_sealed_folder_is_complete(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    seal_folder(tmp_path)
    assert find_fault(tmp_path) is None
    (tmp_path / "b").write_text("2")
    seal_folder(tmp_path)
    assert set(json.loads((tmp_path / COMPLETE).read_text("utf-8"))["files"]) == {"a", "b"}
