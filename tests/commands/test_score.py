"""`llamafactory-ext score`: the table, the files, rescoring, and what it says of files that do not fit."""

import json
import re
import sys
from pathlib import Path

import pytest

from llamafactory_ext import cli
from llamafactory_ext.metrics import read_report
from llamafactory_ext.metrics.report import figures_of, read_verdicts, verdicts_path
from metrics.benchmarks.test_rotbench import WEATHER, record
from metrics.published_data import write_predictions

pytestmark = pytest.mark.fast


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clean.json").write_text(json.dumps([record(WEATHER)] * 3), encoding="utf-8")
    write_predictions(tmp_path / "p.jsonl", "rotbench", {"clean:0": WEATHER, "clean:2": "Action: none"})
    return tmp_path


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["llamafactory-ext", "score", *words])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_table_report_and_verdicts(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("rotbench", "--predictions", f"{folder}/p.jsonl", "--references", str(folder))
    assert call(monkeypatch, *words) == 0
    printed = capsys.readouterr().out
    assert all(shown in printed for shown in ("2 of 3 items, PARTIAL", "TS", "50.00", "Partial: 1 of 3 items"))
    path = folder / "p.official.json"
    report = read_report(path)
    assert report.partial
    assert figures_of(read_verdicts(verdicts_path(path))) == report.figures
    content = path.read_bytes(), verdicts_path(path).read_bytes()
    assert call(monkeypatch, *words) == 0
    assert (path.read_bytes(), verdicts_path(path).read_bytes()) == content


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "needs a benchmark and --predictions and --references"),
        (["rotbench"], "needs --predictions and --references"),
        (["chess", "--predictions", "p.jsonl", "--references", "."], "no benchmark 'chess'"),
        (["rotbench", "--predictions", "p.jsonl", "--references", ".", "--mode", "lenient"], "no mode 'lenient'"),
        (["rotbench", "--predictions", "p.jsonl", "--references", "none"], "there are no references here"),
        (["rotbench", "--predictions", "none.jsonl", "--references", "."], "no such prediction file"),
        (["bfcl", "--predictions", "p.jsonl", "--references", "."], "holds no file of bfcl"),
        (["rotbench", "--predictions", "p.jsonl", "--references", "other.json"], "such as 'clean:0'"),
        (["rotbench", "--predictions", "p.jsonl", "--references", ".", "--out", "p.jsonl"], "would overwrite"),
    ],
)
def test_what_does_not_fit(
    folder: Path, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "other.json").write_text(json.dumps([record(WEATHER)]), encoding="utf-8")
    monkeypatch.chdir(folder)
    assert call(monkeypatch, *words) == 2
    assert said in capsys.readouterr().err


def test_metrics_need_no_llamafactory() -> None:
    sources = list((Path(cli.__file__).parent / "metrics").rglob("*.py"))
    assert len(sources) > 10
    for source in sources:
        assert not re.search(
            r"^\s*(?:import|from) (?:llamafactory\b|\.\.upstream)|^(?:import|from) torch",
            source.read_text("utf-8"),
            re.M,
        )


@pytest.mark.parametrize(
    "option", ["--bfcl_version=v4", "--any_format", "--execute", "--judge", "--checkout=x", "--embedder=x"]
)
def test_options_of_other_benchmarks_are_refused(
    option: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("rotbench", "--predictions", f"{folder}/p.jsonl", "--references", str(folder), option)
    assert call(monkeypatch, *words) == 2
    assert f"{option.partition('=')[0]} has no effect with rotbench, only with" in capsys.readouterr().err
    assert not (folder / "p.official.json").exists()
