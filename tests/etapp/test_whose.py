"""Judges' reports, verdicts and lists of cases count for the run that they are of, and for no other."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from llamafactory_ext.errors import DataError
from llamafactory_ext.etapp.checking import read_acted, report_of
from llamafactory_ext.etapp.demo import demo
from llamafactory_ext.etapp.export import Wanted, export, read_ids
from llamafactory_ext.etapp.judges import read_judged
from llamafactory_ext.etapp.mini import load
from llamafactory_ext.etapp.page import read_runs
from llamafactory_ext.metrics.report import write_report

pytestmark = pytest.mark.fast
SOURCE = load()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("agents")
    demo(folder)
    return folder


def checked(folder: Path, name: str) -> Path:
    """Write the checks' report of a run under the name of a judge's; return the run."""
    file = folder / f"{name}.jsonl"
    predictions, acted = read_acted(SOURCE, file)
    report = report_of(SOURCE, predictions, acted, len(SOURCE.cases))
    write_report(report, folder / f"{name}.judge.json")
    return file


def test_a_report_that_is_no_judges_is_refused(runs: Path, tmp_path: Path) -> None:
    shutil.copy(runs / "random.jsonl", tmp_path / "random.jsonl")
    with pytest.raises(DataError, match="is no judge's"):
        read_runs(SOURCE, [str(checked(tmp_path, "random"))])


@pytest.mark.parametrize("reader", ["report", "export"])
def test_a_judges_report_of_another_run_is_refused(reader: str, runs: Path, tmp_path: Path) -> None:
    for name in ("gold", "random"):
        shutil.copy(runs / f"{name}.jsonl", tmp_path)
    checked(tmp_path, "gold")
    told = json.loads((tmp_path / "gold.judge.json").read_text()) | {"judge": {"model": "m"}}
    for name in ("gold", "random"):
        (tmp_path / f"{name}.judge.json").write_text(json.dumps(told))
    shutil.copy(tmp_path / "gold.judge.verdicts.jsonl", tmp_path / "random.judge.verdicts.jsonl")
    own = read_acted(SOURCE, tmp_path / "gold.jsonl")[0].sha256
    other = read_acted(SOURCE, tmp_path / "random.jsonl")[0].sha256
    if reader == "export":
        assert read_judged(tmp_path / "gold.judge.verdicts.jsonl", own)
        with pytest.raises(DataError, match="another prediction file"):
            read_judged(tmp_path / "gold.judge.verdicts.jsonl", other)
    else:
        assert read_runs(SOURCE, [str(tmp_path / "gold.jsonl")])[0].judgements
        with pytest.raises(DataError, match="another prediction file"):
            read_runs(SOURCE, [str(tmp_path / "random.jsonl")])


def test_verdicts_without_a_report_or_a_line_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.verdicts.jsonl").write_text("")
    with pytest.raises(DataError, match="with its report beside it"):
        read_judged(tmp_path / "a.verdicts.jsonl", "x")
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(DataError, match="holds no verdict"):
        read_judged(tmp_path / "a.verdicts.jsonl", "x")


@pytest.mark.parametrize("content", ["", "nobody:99\n", '{"id": "mara:00"}\n'])
def test_a_list_that_names_no_cases_holds_nothing_out(content: str, tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text(content)
    with pytest.raises(DataError, match="one id a line"):
        read_ids(tmp_path / "test.txt", SOURCE.by_id)


def test_a_byte_order_mark_is_no_part_of_an_id(tmp_path: Path) -> None:
    first = SOURCE.cases[0].id
    (tmp_path / "test.txt").write_text(f"{first}\n", encoding="utf-8-sig")
    assert read_ids(tmp_path / "test.txt", SOURCE.by_id) == {first}


def test_cases_without_checks_are_exported_by_a_judge_or_on_request_alone(runs: Path, tmp_path: Path) -> None:
    acted = [replace(one, outcome=None) for one in read_acted(SOURCE, runs / "gold.jsonl")[1]]
    with pytest.raises(DataError, match="has no checks, and no judge was asked"):
        export(SOURCE, acted, {}, Wanted(), tmp_path / "a.json", runs / "gold.jsonl")
    done = export(SOURCE, acted, {}, Wanted(checks="any"), tmp_path / "a.json", runs / "gold.jsonl")
    assert done.written == len(acted)
