"""Reports: figures from verdicts, and files that give them back."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from llamafactory_ext.errors import DataError
from llamafactory_ext.metrics import Report, Verdict, read_report, write_report
from llamafactory_ext.metrics.report import figures_of, read_verdicts, verdicts_path

pytestmark = pytest.mark.fast

VERDICTS = (
    Verdict("a:0", {"TS": 1.0, "CF": 1.0}, "right", group="a"),
    Verdict("a:1", {"TS": 1.0, "CF": 0.0}, "wrong content", group="a"),
    Verdict("b:0", {"TS": 0.0, "CF": 0.0}, "no call", parsed=False, group="b"),
    Verdict("b:1", {"R": 0.25}, group="b"),
)
REPORT = Report(
    "rotbench",
    "official",
    figures_of(VERDICTS),
    "p",
    "r",
    ("m",),
    5,
    4,
    ("a note",),
    {"model": "judge", "tokens": 3},
    VERDICTS,
)


def test_figures() -> None:
    ts = REPORT.figure("TS")
    assert (ts.value, ts.n, ts.parse_failures) == (2 / 3, 3, 1)
    assert ts.standard_error == pytest.approx(math.sqrt(2 / 9 / 2))
    assert REPORT.figure("TS (b)").n == 1
    assert REPORT.figure("TS (b)").standard_error is None
    assert [figure.name for figure in REPORT.figures] == [
        "TS",
        "CF",
        "R",
        "TS (a)",
        "CF (a)",
        "TS (b)",
        "CF (b)",
        "R (b)",
    ]
    assert "R (a)" not in {figure.name for figure in REPORT.figures}
    with pytest.raises(DataError, match="no figure 'PI'"):
        REPORT.figure("PI")


def test_one_group_has_no_figures_of_its_own() -> None:
    assert [figure.name for figure in figures_of(VERDICTS[:2])] == ["TS", "CF"]


def test_partial_is_marked() -> None:
    assert REPORT.partial
    assert not replace(REPORT, n_predictions=5).partial


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "out" / "report.json"
    write_report(REPORT, path)
    assert read_report(path) == REPORT
    assert read_verdicts(verdicts_path(path)) == VERDICTS
    assert figures_of(read_verdicts(verdicts_path(path))) == REPORT.figures
    assert sorted(file.name for file in path.parent.iterdir()) == ["report.json", "report.verdicts.jsonl"]


def test_broken_reports_are_named(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    for content, words in (("{", "is no JSON"), ("{}", "is no report"), ("[]", "is no report")):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match=words):
            read_report(path)
    with pytest.raises(DataError, match="there is no report here"):
        read_report(tmp_path / "none.json")
    path.write_text('{"id": 1}\n', encoding="utf-8")
    with pytest.raises(DataError, match="line 1: no verdict"):
        read_verdicts(path)
