"""Rows of the benchmarks run, at a size where times say nothing; what is exact by construction is exact.

A seeded sample of those that nothing below reads; with ALL_TESTS=1 all of them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from processes import run as run_command
from sampling import sample

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
READ = ("4", "6", "7", "9", "linear", "ppo")  # whose figures are read below
OTHERS = ("1", "3", "5", "8", "10", "11", "12", "13", "14", "15", "16", "17")
CHOSEN = (*READ, *sample(OTHERS, 3))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmarks") / "toy.json"
    rows = ["--rows", ",".join(CHOSEN)]
    command = [sys.executable, "run.py", *rows, "--shape", "toy", "--rounds", "1", "--out", str(path)]
    done = run_command(command, BENCHMARKS)
    assert done.returncode == 0, done.stderr
    assert all(title in done.stdout for title in ("RP step", "UCO step", "router loss"))
    return path


def test_every_row_has_figures_with_versions_and_machine(results: Path) -> None:
    data = json.loads(results.read_text("utf-8"))
    numbers = dict.fromkeys(row["number"] for row in data["rows"])  # some rows have several tables
    assert list(numbers) == ["1, 2" if name == "1" else name for name in CHOSEN]
    assert data["machine"]["threads"] == 1
    assert {"torch", "transformers", "peft", "llamafactory"} <= set(data["versions"])
    for row in data["rows"]:
        assert row["figures"], row["title"]
        for figure in row["figures"]:
            assert figure["value"] == figure["value"], f"{row['number']} {figure['name']} is not a number"
            assert figure["unit"] != "ratio" or figure["value"] > 0
    assert results.with_name("toy_linear.png").stat().st_size > 10_000


def test_ppo_runs_against_grpo(results: Path) -> None:
    (row,) = (row for row in json.loads(results.read_text("utf-8"))["rows"] if row["number"] == "ppo")
    assert len(row["figures"]) == 16
    assert all(figure["value"] > 0 for figure in row["figures"])
    for side in ("tl_ppo", "GRPOTrainer"):
        assert row["settings"][f"{side}, all responses of 4 tokens"]["tokens_per_step"] == 4 * 4


def test_what_is_exact_meets_its_goal(results: Path) -> None:
    figures = [figure for row in json.loads(results.read_text("utf-8"))["rows"] for figure in row["figures"]]
    exact = [figure for figure in figures if figure["unit"] == "relative error"]
    assert len(exact) == 7, "one in row 4, three in rows 6 and 9"
    assert all(figure["value"] <= figure["goal"] == 1e-12 for figure in exact), exact
    (state,) = (figure for figure in figures if figure["name"].startswith("optimiser state"))
    assert state["met"]


def test_every_row_is_read_or_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from run import ROWS

    assert sorted(ROWS) == sorted({*READ, *OTHERS} - {"ppo"})


def test_an_unknown_row_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from run import main

    with pytest.raises(SystemExit):
        main(["--rows", "3,99"])
    assert "no row 99" in capsys.readouterr().err
