"""docs/versions.md: the page shows the results, the results cover the cells, setup.py's ranges follow them."""

from __future__ import annotations

import json
import re
import runpy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
SETUP = runpy.run_path(str(ROOT / "setup.py"))
RESULTS = json.loads((ROOT / "docs" / "versions.json").read_text("utf-8"))
RANGED = ("llamafactory", "transformers", "peft", "torch")
# Works in every run of its cell, on a CPU; excluded for what a CPU does not show.
LEFT_OUT = {("transformers", "5.6.0")}


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def ours() -> list[Requirement]:
    return [Requirement(line) for line in (*SETUP["REQUIRES"], *SETUP["EXTRAS"]["train"])]


def test_ranges_follow_the_matrix() -> None:
    """What ended well is taken, and the oldest that is taken ended well."""
    good = [cell for cell in RESULTS["cells"].values() if cell["expect"] == "all" and all_ok(cell)]
    for name in RANGED:
        ranges = [r.specifier for r in ours() if r.name == name]
        ran = {cell[name] if cell[name] != "main" else cell["packages"]["llamafactory"] for cell in good}
        refused = {(name, v) for v in ran if not all(s.contains(v, prereleases=True) for s in ranges)}
        assert refused == {pair for pair in LEFT_OUT if pair[0] == name and pair[1] in ran}
        lowest = min(Version(s.version) for specifiers in ranges for s in specifiers if s.operator == ">=")
        taken = {version for version in ran if (name, version) not in LEFT_OUT}
        assert min(map(Version, taken)).release[:2] == lowest.release[:2], name
    pythons = {tuple(map(int, cell["python"].split("."))) for cell in good}
    assert pythons >= {(3, 11), (3, 12), (3, 13)}


def test_every_result_belongs_to_a_cell(scripts: None) -> None:
    import version_cells

    for kind, cells in (("cells", version_cells.CELLS), ("serving", version_cells.SERVING)):
        entries, named = RESULTS[kind], {cell.name: cell for cell in cells}
        assert entries.keys() <= named.keys()
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", entry["date"]) and entry["runs"] for entry in entries.values())
        for name, entry in entries.items():
            kept = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
            assert kept.items() >= asdict(named[name]).items()


def test_the_page_shows_the_results(scripts: None) -> None:
    import version_page

    page = (ROOT / "docs" / "versions.md").read_text("utf-8")
    assert version_page.with_tables(page, RESULTS) == page
    assert "not run" in page.partition("## Devices")[2]


def test_a_run_that_failed_is_named_with_its_cause(scripts: None) -> None:
    import version_page

    (name, cell), *_ = RESULTS["cells"].items()
    broken = cell | {"runs": {"lora": "ok", "citi": "ValueError: no such thing"}}
    text = version_page.tables({"cells": {name: broken}, "serving": {}})
    assert "**citi failed**; ok: lora" in text
    assert "| not run yet |" in text
    assert "citi: ValueError: no such thing" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Traceback (most recent call last):\n  ...\nValueError: a  b\n", "ValueError: a b"),
        ("x\n\x1b[31mtorch.OutOfMemoryError: full\x1b[0m\nbye\n", "torch.OutOfMemoryError: full"),
        ("only words\n", "only words"),
        ("", "nothing printed"),
    ],
)
def test_the_cause_is_one_line(text: str, expected: str, scripts: None) -> None:
    import version_runs

    assert version_runs.cause(text) == expected


def all_ok(cell: dict[str, Any]) -> bool:
    return all(said.startswith("ok") for said in cell["runs"].values())
