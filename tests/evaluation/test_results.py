"""OpenCompass's result files as score reports; needs no OpenCompass."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from llamafactory_ext.errors import DataError
from llamafactory_ext.metrics.report import Report

ROOT = Path(__file__).parents[2]


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "evaluation" / "opencompass"))
    from llamafactory_ext_opencompass import results as module

    return module


def written(folder: Path, name: str, result: Any) -> Path:
    """A run's folder with one result and its predictions."""
    for part, content in (("results", result), ("predictions", {"0": {"prediction": "18"}})):
        path = folder / part / "served" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return folder


def gsm8k_data(folder: Path, count: int) -> Path:
    path = folder / "data" / "gsm8k" / "test.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"question": "?", "answer": "#### 1"}\n' * count, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "details",
    [
        [{"correct": [True]}, {"correct": [False]}, {"correct": True}, {"correct": True}],
        {str(place): {"is_correct": place != 1} for place in range(4)},
    ],
)
def test_details_become_verdicts(results: ModuleType, tmp_path: Path, details: Any) -> None:
    folder = written(tmp_path / "run", "gsm8k", {"accuracy": 75.0, "details": details})
    (report,) = results.read_reports("gsm8k", folder, gsm8k_data(tmp_path, 4), "mine")
    assert isinstance(report, Report)
    figure = report.figure("GSM")
    assert (figure.value, figure.n, figure.standard_error) == (0.75, 4, pytest.approx(0.25))
    assert (report.benchmark, report.mode, report.partial) == ("gsm8k", "official", False)
    assert len({report.predictions_sha256, report.references_sha256, *report.model_hashes}) == 3


def test_fewer_verdicts_than_items_are_partial(results: ModuleType, tmp_path: Path) -> None:
    folder = written(tmp_path / "run", "gsm8k", {"accuracy": 100.0, "details": [{"correct": [True]}]})
    (report,) = results.read_reports("gsm8k", folder, gsm8k_data(tmp_path, 4), "mine")
    assert (report.n_predictions, report.n_references, report.partial) == (1, 4, True)


def test_ratings_are_averaged_over_turns(results: ModuleType, tmp_path: Path) -> None:
    ratings = {"81": [8.0, 6.0], "82": [None, 4.0], "83": [None, None]}
    folder = written(tmp_path / "run", "mt_bench", {"mt_bench": 6.0, "ratings": ratings, "judge": {"model": "local"}})
    (report,) = results.read_reports("mt_bench", folder, tmp_path, "mine")
    figure = report.figure("MT")
    assert [verdict.scores["MT"] for verdict in report.verdicts] == [0.7, 0.4, 0.0]
    assert (figure.n, figure.parse_failures) == (3, 2)
    assert report.judge == {"model": "local"}


def test_our_scorer_s_report_is_taken_as_it_is(results: ModuleType, tmp_path: Path) -> None:
    whole = written(tmp_path / "a", "gsm8k", {"details": [{"correct": True}]})
    (made,) = results.read_reports("gsm8k", whole, gsm8k_data(tmp_path, 1), "mine")
    folder = written(tmp_path / "b", "rotbench", {"TS": 100.0, "report": made.to_json()})
    assert results.read_reports("tools", folder, tmp_path, "mine") == [made]


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"accuracy": 100.0}, "has no details"),
        ({"error": "preds and refrs have different length"}, "has no details"),
        ({"details": [{"pred": "1"}]}, "detail 0: says neither correct nor wrong"),
        ('{"details": [', "cannot be read"),
    ],
)
def test_what_is_no_result(results: ModuleType, tmp_path: Path, result: Any, told: str) -> None:
    folder = written(tmp_path / "run", "gsm8k", result)
    with pytest.raises(DataError, match=told):
        results.read_reports("gsm8k", folder, gsm8k_data(tmp_path, 1), "mine")


def test_no_results_at_all(results: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gsm8k has no verdicts"):
        results.read_reports("gsm8k", tmp_path, tmp_path, "mine")
