"""README's table of rooms is the package: every folder stands in it, in the order in which they may import."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import llamafactory_ext

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parents[2]
PACKAGE = Path(llamafactory_ext.__file__).parent
DOORS = (PACKAGE / "__init__.py", PACKAGE / "upstream" / "__init__.py")  # in no room


def rooms() -> list[str]:
    """The first column of README's table, from top to bottom."""
    table = (ROOT / "README.md").read_text("utf-8").partition("| room | duty |\n")[2].partition("\n\n")[0]
    return [name for line in table.splitlines() for name in re.findall(r"`([^`]+)`", line.split("|")[1])]


def room_of(module: Path) -> str:
    """The room of a file, by its path within the package; the longest name that fits."""
    path = module.relative_to(PACKAGE).as_posix()
    return max((room for room in rooms() if path == room or path.startswith(room)), key=len)


def modules() -> list[Path]:
    """All files that stand in a room."""
    return [file for file in PACKAGE.rglob("*.py") if file not in DOORS]


def imported(module: Path) -> Iterator[Path]:
    """The files of the package that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(("llamafactory_ext", *module.relative_to(PACKAGE).parts)).split(".")[: -1 - node.level]
            start = ".".join([*package, node.module or ""]) if node.level else str(node.module)
            names = [(start.rstrip("."), alias.name) for alias in node.names]
        else:
            continue
        for name, part in names:
            if name.partition(".")[0] == "llamafactory_ext":
                yield from filter(None, [_file(f"{name}.{part}") or _file(name)])


def _file(name: str) -> Path | None:
    path = PACKAGE.joinpath(*name.split(".")[1:])
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def test_the_table_names_every_room_and_nothing_else() -> None:
    named = rooms()
    assert len(named) == len(set(named)) > 20
    assert [name for name in named if not (PACKAGE / name).exists()] == []
    folders = {f"{file.parent.name}/" for file in PACKAGE.glob("*/__init__.py")} - {"upstream/"}
    folders |= {f"upstream/{file.parent.name}/" for file in PACKAGE.glob("upstream/*/__init__.py")}
    assert {name for name in named if name.endswith("/")} == folders
    files = {file.name for file in PACKAGE.glob("*.py")} - {"__init__.py"}
    assert {name for name in named if not name.endswith("/")} == files | {"upstream/doctor.py"}


def test_imports_run_down_the_table() -> None:
    order = {room: place for place, room in enumerate(rooms())}
    arrows = {
        (room_of(module), room_of(other)) for module in modules() for other in imported(module) if other not in DOORS
    }
    assert len(arrows) > 80
    assert {(start, end) for start, end in arrows if order[start] > order[end]} == set()


@pytest.mark.parametrize("room", [room for room in rooms() if room.endswith("/")])
def test_fast_tests_cover_the_room(room: str) -> None:
    files = (ROOT / "tests" / room).rglob("test_*.py")
    assert any("pytest.mark.fast" in file.read_text("utf-8") for file in files)
