"""Files and folders appear whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.checkpoint.atomic import publish_folder, read_json, write_json
from llamafactory_ext.errors import CheckpointError

pytestmark = pytest.mark.fast


def test_json_comes_back_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    data = {"ä": [1, 2.5, None], "b": {"c": "✓"}}
    write_json(tmp_path / "sub" / "a.json", data)
    assert read_json(tmp_path / "sub" / "a.json", "thing") == data
    assert "✓" in (tmp_path / "sub" / "a.json").read_text("utf-8")
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["a.json"]


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    for bad in ({"x": float("nan")}, {"x": object()}):
        with pytest.raises((ValueError, TypeError)):
            write_json(path, {"y": list(range(9999)), **bad})
        assert read_json(path, "thing") == {"old": 1}


def test_a_death_before_the_rename_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", die)
        with pytest.raises(KeyboardInterrupt):
            write_json(path, {"new": 2})
    assert read_json(path, "thing") == {"old": 1}
    write_json(path, {"new": 2})
    assert read_json(path, "thing") == {"new": 2}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a\.json: there is no manifest here; check the path"):
        read_json(tmp_path / "a.json", "manifest")
    (tmp_path / "b.json").write_bytes(b'{"x": ')
    with pytest.raises(CheckpointError, match=r"b\.json: the manifest is damaged .* delete it"):
        read_json(tmp_path / "b.json", "manifest")
    (tmp_path / "c.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CheckpointError, match="is damaged"):
        read_json(tmp_path / "c.json", "manifest")
    (tmp_path / "d.json").mkdir()
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_json(tmp_path / "d.json", "manifest")


def test_a_published_folder_replaces_the_old_one(tmp_path: Path) -> None:
    target, staged = tmp_path / "adapter", tmp_path / ".adapter.tmp"
    for folder, names in ((target, ("old", "both")), (staged, ("new", "both", "deep/er"))):
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(folder.name)
    publish_folder(staged, target)
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*")) == ["both", "deep", "deep/er", "new"]
    assert (target / "both").read_text() == ".adapter.tmp"
    assert not staged.exists()


def test_json_is_readable_text(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": 1})
    text = (tmp_path / "a.json").read_text("utf-8")
    assert text == json.dumps({"a": 1}, indent=1) + "\n"
