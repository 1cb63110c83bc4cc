"""A method stands in its rooms and its row, nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import llamafactory_ext
from llamafactory_ext.methods import methods

pytestmark = pytest.mark.fast

PACKAGE = Path(llamafactory_ext.__file__).parent
# Whoever changes a method looks into these; the rest of the package reads its row.
ROOMS = (
    *("citi/", "molora/", "tl/", "data_method/", "duo/", "cl/", "skintern/", "cli.py", "lab/", "commands/lab.py"),
    *("board/locales/", "methods.py", "report/papers.json", "analyse/"),
)
# An ordinary word is looked for by what the method's rooms and options are called.
WORDS = re.compile(r"(?i:citi(?!es)|tl_sft|tl_ppo|skintern)|data_method|data_task|\bduo\b|type: data\b")
ORDINARY = {"data": "finetuning_type: data"}


def allowed() -> tuple[str, ...]:
    return (*ROOMS, *(f"commands/{verb}.py" for row in methods() for verb in row.verbs))


def files() -> list[Path]:
    found = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return [*found, *PACKAGE.parent.glob("*.py")]


def test_no_method_stands_outside_its_rooms() -> None:
    assert len(files()) > 400
    named = []
    for path in files():
        name = path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else path.name
        if name.startswith(allowed()):
            continue
        named += [
            f"{name}:{number}: {line.strip()}"
            for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1)
            if WORDS.search(line)
        ]
    assert named == []


def test_the_words_are_found() -> None:
    assert all(WORDS.search(ORDINARY.get(row.name, row.name)) for row in methods())
    assert WORDS.search("a CITI run")
    assert not WORDS.search("of two cities")


def test_the_rooms_that_are_left_out_name_a_method() -> None:
    for name in allowed():
        path = PACKAGE / name
        texts = [path] if path.is_file() else [file for file in path.rglob("*") if file.suffix in (".py", ".json")]
        assert any(WORDS.search(file.read_text("utf-8")) for file in texts), name
