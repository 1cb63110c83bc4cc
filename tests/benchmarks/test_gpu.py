"""benchmarks/gpu.sh on a CPU at toy shape: without LLaMA-Factory, whole, and honest about what it lacks."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from processes import run as run_command

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPT = str(BENCHMARKS / "gpu.sh")


@pytest.fixture
def without_upstream(tmp_path: Path) -> dict[str, str]:
    """An environment in which an import of LLaMA-Factory fails."""
    blocked = tmp_path / "blocked" / "llamafactory"
    blocked.mkdir(parents=True)
    (blocked / "__init__.py").write_text("raise ImportError('LLaMA-Factory was imported')\n", encoding="utf-8")
    path = os.pathsep.join([str(blocked.parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return {"PYTHON": sys.executable, "PYTHONPATH": path}


def test_it_measures_every_row_without_upstream(tmp_path: Path, without_upstream: dict[str, str]) -> None:
    out = tmp_path / "gpu.json"
    command = ["bash", SCRIPT, "--device", "cpu", "--shape", "toy", "--rounds", "1", "--out", str(out)]
    done = run_command(command, tmp_path, **without_upstream)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text("utf-8"))
    assert {row["number"] for row in found["rows"]} == {"1, 2", "3", "4", "5", "7", "9", "importance", "speed"}
    assert all(row["figures"] for row in found["rows"])
    (speed,) = (row for row in found["rows"] if row["number"] == "speed")
    assert speed["settings"]["left_out"] == {"flash_attention_2": "not on a CPU"}
    assert all(figure["value"] > 0 for figure in speed["figures"])


@pytest.mark.parametrize(
    "words", [("--minutes", "0"), ("--minutes", "x"), ("--rounds", "-1"), ("--nothing",), ("--out",)]
)
def test_odd_options_are_named(words: tuple[str, ...], tmp_path: Path) -> None:
    done = run_command(["bash", SCRIPT, *words], tmp_path)
    assert done.returncode == 2
    assert words[0] in done.stderr


def test_no_row_begins_after_the_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from run import main

    out = tmp_path / "rows.json"
    main(["--shape", "toy", "--rounds", "1", "--rows", "1,3,9", "--minutes", "1e-9", "--out", str(out)])
    printed = capsys.readouterr().out
    assert [line.split()[1] for line in printed.splitlines() if "was not begun" in line] == ["1", "3", "9"]
    assert not out.exists()
