"""The page: runs side by side, hostile texts as text, runs of one kind alone."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from etapp.acting import saying
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.etapp.agents import agent
from llamafactory_ext.etapp.checking import read_acted
from llamafactory_ext.etapp.groups import KINDS
from llamafactory_ext.etapp.judge_reading import Verdict
from llamafactory_ext.etapp.judging import Judged, report_of
from llamafactory_ext.etapp.mini import load, load_gold
from llamafactory_ext.etapp.page import read_runs, write
from llamafactory_ext.etapp.registry import ALL
from llamafactory_ext.etapp.run import RunOptions, run
from llamafactory_ext.metrics.report import write_report
from llamafactory_ext.report.tables import published

pytestmark = pytest.mark.fast
SOURCE, GOLD = load(), load_gold()
_JUDGED = ("PRC", "PSN", "PTV")


def acted(path: Path, make: Any, sandbox: str = "strict") -> Path:
    return run(SOURCE, SOURCE.cases[:12], make, {}, RunOptions(quiet=True, sandbox=sandbox), path)


def test_it_compares_runs_and_shows_every_trajectory(tmp_path: Path) -> None:
    gold = acted(tmp_path / "gold.jsonl", agent("gold", GOLD))
    null = acted(tmp_path / "null.jsonl", agent("null", GOLD))
    runs = read_runs(SOURCE, [f"right={gold}", str(null)])
    assert [one.name for one in runs] == ["right", "null"]
    paths = write(SOURCE, runs, tmp_path / "page")
    page, data = paths[2].read_text(), json.loads(paths[1].read_text())
    assert page.count("<details>") == 24
    assert "within noise" not in paths[0].read_text()
    gap = next(row for row in data["differences"] if row["figure"] == "SR")
    assert gap["difference"] == -1
    assert page.count("could not be obtained") == 1  # the paper's tables


def test_figures_by_group(tmp_path: Path) -> None:
    gold = acted(tmp_path / "gold.jsonl", agent("gold", GOLD))
    null = acted(tmp_path / "null.jsonl", agent("null", GOLD))
    paths = write(SOURCE, read_runs(SOURCE, [f"gold={gold}", f"null={null}"]), tmp_path / "page")
    rows = json.loads(paths[1].read_text())["runs"][0]["groups"]
    assert {row["kind"] for row in rows} == set(KINDS)
    domains = {row["group"]: row for row in rows if row["kind"] == "domain"}
    wanted = {ALL[name].domain.replace("_", " ") for case in SOURCE.cases[:12] for name in case.given} - {""}
    assert set(domains) == wanted
    assert all(row["SR"] == 1 for row in rows)
    homes = sum(any(ALL[name].domain == "smart_home_devices" for name in c.given) for c in SOURCE.cases[:12])
    assert domains["smart home devices"]["episodes"] == homes
    text = paths[0].read_text()
    assert f"| smart home devices | 100.0%, n = {homes} | 0.0%, n = {homes} |" in text
    assert "## By domain" in text


def test_how_a_run_was_done_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for faults in (0.0, 0.5):
        path = tmp_path / f"{faults}.jsonl"
        run(SOURCE, SOURCE.cases[:2], agent("gold", GOLD), {"model": "m"}, RunOptions(quiet=True, faults=faults), path)
    runs = read_runs(SOURCE, [f"some={path}", f"none={tmp_path / '0.0.jsonl'}"])
    for text in (one.read_text() for one in write(SOURCE, runs, tmp_path / "page")[::2]):
        assert "some: run with model" in text
        assert "trials 1, most turns 20, faults 0.5, seed 0" in text
        assert "faults 0.0, seed 0" in text


def test_what_a_model_says_is_text(tmp_path: Path) -> None:
    bad = "<script>alert(1)</script> | [x](javascript:y)"
    path = acted(tmp_path / "bad.jsonl", lambda *_: saying([("<b>", {"<i>": bad})], bad))
    paths = write(SOURCE, read_runs(SOURCE, [f"<u>={path}"]), tmp_path / "page")
    page = paths[2].read_text()
    assert "<script" not in page
    assert "<b>(" not in page
    assert "<u>" not in page
    assert "<u>" not in paths[0].read_text()


def test_runs_that_cannot_be_compared(tmp_path: Path) -> None:
    one = acted(tmp_path / "a.jsonl", agent("gold", GOLD))
    with pytest.raises(OptionError, match="at least one"):
        read_runs(SOURCE, [])
    with pytest.raises(OptionError, match="names two files"):
        read_runs(SOURCE, [str(one), str(one)])
    other = acted(tmp_path / "b.jsonl", agent("gold", GOLD), "reference")
    with pytest.raises(DataError, match="no table may mix"):
        read_runs(SOURCE, [str(one), str(other)])
    other.write_text(one.read_text().replace('"calls": [', '"calls": [7, '))
    with pytest.raises(DataError, match="is damaged"):
        read_runs(SOURCE, [str(other)])


def test_runs_without_a_case_in_common_are_told(tmp_path: Path) -> None:
    options = RunOptions(quiet=True)
    paths = [
        run(SOURCE, SOURCE.cases[start:stop], agent("gold", GOLD), {}, options, tmp_path / f"{name}.jsonl")
        for name, start, stop in (("one", 0, 4), ("apart", 4, 8), ("partly", 3, 6))
    ]
    written = write(SOURCE, read_runs(SOURCE, [*map(str, paths)]), tmp_path / "page")
    told = "apart against one: not compared, they have no case in common"
    assert json.loads(written[1].read_text())["not_compared"] == [told]
    assert told in written[0].read_text()
    assert "partly against one, SR: +0.0%, n = 1" in written[0].read_text()


def test_the_papers_tables_hold_nothing_that_nobody_has_seen() -> None:
    tables = [table for table in published() if table.id.startswith("etapp-")]
    assert [table.id for table in tables] == ["etapp-main", "etapp-strategies", "etapp-tuning"]
    for table in tables:
        assert len(table.columns) == 6
        assert all(len(row.values) == 6 for row in table.rows)
        assert all(0 <= value <= 100 for row in table.rows for value in row.values if value is not None)


def test_links_and_headings(tmp_path: Path) -> None:
    """Each link of the page has its place, once; each heading is at most one level below the one before it."""
    files = [acted(tmp_path / f"{name}.jsonl", agent(name, GOLD)) for name in ("gold", "null")]
    page = write(SOURCE, read_runs(SOURCE, [str(file) for file in files]), tmp_path / "page")[2].read_text()
    places = re.findall(r' id="([^"]+)"', page)
    links = re.findall(r'href="#([^"]+)"', page)
    assert len(places) == len(set(places))
    assert set(links) == set(places)
    assert len(links) == 8
    levels = [int(level) for level in re.findall(r"<h(\d)", page)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))


def test_judges_are_compared_on_the_same_draws(tmp_path: Path) -> None:
    names = ("Procedure", "Personalization", "Proactivity")
    for name, score in (("gold", 5), ("null", 1)):
        file, cases = read_acted(SOURCE, acted(tmp_path / f"{name}.jsonl", agent(name, GOLD)))
        verdict = Verdict(dict.fromkeys(names, score), dict.fromkeys(names, ()))
        judged = [Judged(one, (verdict,), 1, False) for one in cases]
        write_report(report_of(SOURCE, file, judged, "strict", {}, 48), tmp_path / f"{name}.judge.json")
    runs = read_runs(SOURCE, [f"{tmp_path}/gold.jsonl", f"{tmp_path}/null.jsonl"])
    data = json.loads(write(SOURCE, runs, tmp_path / "page")[1].read_text())
    gaps = {row["figure"]: (row["difference"], row["interval"]) for row in data["differences"]}
    assert {name: gaps[name] for name in _JUDGED} == dict.fromkeys(
        _JUDGED, (pytest.approx(-0.8), pytest.approx([-0.8, -0.8]))
    )
