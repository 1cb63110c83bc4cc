"""Paths that a user names: what no disk takes names nothing, and no question about it fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from llamafactory_ext.paths import can_be_named, exists, is_file, is_folder

pytestmark = pytest.mark.fast

# name: exists, is a file, is a folder, can be named
NAMES = {
    "a file": (True, True, False, True),
    "a folder": (True, False, True, True),
    "nothing": (False, False, False, True),
    "a file/below": (False, False, False, True),
    "to nothing": (False, False, False, True),
    "n" * 300: (False, False, False, False),
    "/".join(["n" * 200] * 30): (False, False, False, False),
    "zero\0byte": (False, False, False, False),
    "half \ud800": (False, False, False, False),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a file").touch()
    (tmp_path / "a folder").mkdir()
    (tmp_path / "to nothing").symlink_to("nowhere")
    return tmp_path


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:20])
def test_each_question_has_an_answer(name: str, folder: Path) -> None:
    path = folder / name
    assert (exists(path), is_file(path), is_folder(path), can_be_named(path)) == NAMES[name]
