"""Figures of cases without data stand apart; files of people's scores; no difference is shown as minus zero."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from etapp.judged_runs import CASES, SOURCE, J, judged
from llamafactory_ext.commands.etapp import Etapp
from llamafactory_ext.errors import DataError
from llamafactory_ext.etapp.cases import Source
from llamafactory_ext.etapp.checking import Acted, read_acted, report_of
from llamafactory_ext.etapp.judge_prompt import CRITERIA
from llamafactory_ext.etapp.judge_reading import Verdict
from llamafactory_ext.etapp.judging import Judged
from llamafactory_ext.etapp.judging import report_of as judged_of
from llamafactory_ext.etapp.page import read_runs, write
from llamafactory_ext.metrics.report import write_report

pytestmark = pytest.mark.fast


def lacking(numbers: set[int]) -> Source:
    """The mini world, where these instructions lack a tool's data."""
    cases = tuple(replace(case, lacking=("play_music",) if case.number in numbers else ()) for case in SOURCE.cases)
    return replace(SOURCE, cases=cases)


@pytest.mark.parametrize("numbers", [set(), {1}, {0, 1}, {0, 1, 2, 3}])
def test_cases_without_data_stand_apart(numbers: set[int], runs: Path, tmp_path: Path) -> None:
    """In figures, pass^k, differences, groups and heat maps: only those of an agent's own successes count."""
    source = lacking(numbers)
    file, acted = read_acted(source, runs / "null.jsonl")
    (alone, apart), report = divided(acted), report_of(source, file, acted, 48)
    figures = {figure.name: figure.n for figure in report.figures}
    verdict = Verdict(dict.fromkeys(CRITERIA, 4), dict.fromkeys(CRITERIA, ()))
    judge = judged_of(source, file, [Judged(one, (verdict,), 1, False) for one in acted], "strict", J, 48)
    figures |= {figure.name: figure.n for figure in judge.figures}
    for name in ("SR", "partial", "SR without extras", "tool recall", "PRC given", "good"):
        assert figures.get(name, 0) == len(alone), name
        assert figures.get(f"{name} (no data)", 0) == len(apart), name
    assert any('figures end with "(no data)"' in note for note in report.notes) == bool(apart)
    write_report(judge, runs / "null.judge.json")
    found = read_runs(source, [str(runs / f"{name}.jsonl") for name in ("gold", "null")])
    page = [path.read_text() for path in write(source, found, tmp_path / "page")]
    rows = json.loads(page[1])
    assert all(row["n"] == len(alone) for row in rows["differences"])
    users = [row for row in rows["runs"][1]["groups"] if row["kind"] == "user"]
    assert [(row["checked"], row["episodes"]) for row in users] == [(len(alone), 4)]
    assert page[2].count("no data for play_music") == 2 * len(apart)


def divided(acted: list[Acted]) -> tuple[list[Acted], list[Acted]]:
    apart = [one for one in acted if one.case.degraded]
    return [one for one in acted if not one.case.degraded], apart


def row(**changes: Any) -> str:
    return json.dumps({"id": CASES[0].id, **{name.lower(): 3 for name in CRITERIA}} | changes)


PEOPLE: dict[str, tuple[str, str]] = {
    "empty": ("", "holds no scores"),
    "blank": ("\n \n\n", "holds no scores"),
    "a blank line": (f"{row()}\n\n{row(id=CASES[1].id)}\n \n", ""),
    "no last line feed": (row(), ""),
    "a name twice": (row()[:-1] + ', "procedure": 5}', "line 1: .*a name stands twice"),
    "an id twice": (row()[:-1] + f', "id": "{CASES[1].id}"}}', "line 1: .*a name stands twice"),
    "behind a blank line": (f"{row()}\n\n{row(procedure=9)}", "line 3: a score is no whole number"),
    "a score less": (json.dumps({"id": CASES[0].id, "procedure": 3}), 'line 1: "personalization" is missing'),
    "no id": (row().replace('"id"', '"case"'), 'line 1: "id" is missing'),
    "a list": (f"[{row()}]", "line 1: no object; write each case once"),
    "a NaN": (row(procedure=math.nan), "line 1: a score is no whole number"),
    "deep": ("[" * 100_000, "line 1: "),
    "no text": (row() + "\udcff", "no text in UTF-8"),
}


@pytest.mark.parametrize("people", PEOPLE)
def test_files_of_people(people: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged(runs / "gold.jsonl", 3)
    content, told = PEOPLE[people]
    human = runs / "human.jsonl"
    human.write_text(content, "utf-8", "surrogateescape")
    if told:
        with pytest.raises(DataError, match=told):
            Etapp().agree(str(human), str(runs / "gold.judge.verdicts.jsonl"))
        return
    Etapp().agree(str(human), str(runs / "gold.judge.verdicts.jsonl"))
    assert "| +0.00 | 100.0% |" in capsys.readouterr().out


@pytest.mark.parametrize("score", [2.999, 3.0, 3.001, 2.9999999])
def test_no_difference_is_minus_zero(score: float, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged(runs / "gold.jsonl", score)
    judged(runs / "null.jsonl", 3)
    human = runs / "human.jsonl"
    human.write_text(row())
    Etapp().agree(str(human), str(runs / "gold.judge.verdicts.jsonl"))
    Etapp().report(*(str(runs / f"{name}.jsonl") for name in ("null", "gold")), out=str(runs / "page"))
    shown = capsys.readouterr().out + (runs / "page" / "report.md").read_text()
    assert "-0.0%" not in shown
    assert "-0.00" not in shown
