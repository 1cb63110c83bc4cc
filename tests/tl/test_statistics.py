"""`data stats`: every call counted once under the category of its feedback, converted or as published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest

from commands.test_data import run as run_command
from data.samples import write_sample
from llamafactory_ext.data.entries import DataEntry
from llamafactory_ext.tl.statistics import ALL_RIGHT, Statistics, error_statistics
from llamafactory_ext.toolcalls.feedback.errors import CATEGORIES, feedback_error

pytestmark = pytest.mark.fast

TOOLS = json.dumps([{"name": "find_city", "parameters": {}}])
FEEDBACK = {
    ALL_RIGHT: '{"city": "Paris"}',
    "Tool Instability": "HTTPSConnectionPool(host='a', port=443): Max retries exceeded",
    "Tool Call Failure": '{"error": "Response error."}',
    "Parameter Hallucination": "find_city() got an unexpected keyword argument 'town'",
    "Parameter Missing": "find_city() missing 1 required positional argument: 'name'",
}


def trajectory(*feedback: str, name: str = "find_city", answer: str | None = "It is Paris.") -> dict[str, Any]:
    turns = [("human", "Which city?")]
    for text in feedback:
        turns += [("function_call", json.dumps({"name": name, "arguments": {}})), ("observation", text)]
    turns += [("gpt", answer)] if answer else [("function_call", json.dumps({"name": name, "arguments": {}}))]
    return {"conversations": [{"from": role, "value": text} for role, text in turns], "system": "", "tools": TOOLS}


def count(folder: Path, records: list[Any], rules: str = "structured") -> Statistics:
    path = folder / "x.json"
    path.write_text(json.dumps(records))
    return error_statistics(DataEntry.of_file(path), rules)


def test_each_call_counts_once_under_its_category(tmp_path: Path) -> None:
    good, bad = FEEDBACK[ALL_RIGHT], FEEDBACK["Parameter Missing"]
    found = count(
        tmp_path,
        [
            *(trajectory(text) for text in FEEDBACK.values()),
            trajectory(FEEDBACK["Tool Call Failure"], name="find_town"),  # a tool that is not declared
            trajectory(bad, bad, good),
            trajectory(good, answer=None),  # the last call has no feedback
            trajectory(),  # no call
            {"conversations": []},
            7,
        ],
    )
    assert found.calls == {
        ALL_RIGHT: 3,
        "Tool Instability": 1,
        "Tool Call Failure": 1,
        "Tool Hallucination": 1,
        "Parameter Hallucination": 1,
        "Parameter Missing": 3,
    }
    assert found.holding["Parameter Missing"] == 2
    assert (found.records, found.trajectories, found.faulty, found.unanswered) == (11, 8, 6, 1)
    assert found.left_out.total() == 3
    assert found.left_out["no calls"] == 1
    summary = found.summary()
    assert list(summary["categories"]) == [ALL_RIGHT, *CATEGORIES]
    assert summary["categories"]["Parameter Missing"] == {"calls": 3, "share_of_calls": 0.3, "trajectories": 2}
    assert (summary["calls"], summary["faulty_share"]) == (10, 0.75)


def test_no_share_is_claimed_where_nothing_was_judged(tmp_path: Path) -> None:
    summary = count(tmp_path, [trajectory()]).summary()
    assert (summary["calls"], summary["faulty_share"], summary["categories"][ALL_RIGHT]["share_of_calls"]) == (
        0,
        None,
        None,
    )


def test_the_released_rule_has_one_kind_and_its_own_mistakes(tmp_path: Path) -> None:
    records = [trajectory("The margin of error is 3 %."), trajectory("HTTP 404 not found")]
    assert count(tmp_path, records).calls == {ALL_RIGHT: 1, "Tool Instability": 1}
    found = count(tmp_path, records, "reference")
    assert found.calls == {"Uncategorised": 1, ALL_RIGHT: 1}
    assert found.categories() == [ALL_RIGHT, "Uncategorised"]


def test_raw_data_counts_as_its_conversion_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = write_sample("tl_training", tmp_path / "in")
    published = error_statistics(DataEntry.of_file(raw))
    run_command(monkeypatch, "data", "convert", "tl_training", "--source", raw, "--out", tmp_path / "data")
    converted = error_statistics(DataEntry.named("tl_training", tmp_path / "data"))
    assert published.calls == converted.calls
    assert published.calls.total() > 0
    feedback = [
        turn["content"]
        for record in json.loads(raw.read_text(encoding="utf-8"))
        for turn in record["conversations"]
        if turn["role"] == "function"
    ]
    assert published.calls[ALL_RIGHT] <= sum(feedback_error(text) is None for text in feedback)


def test_the_command_prints_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.json").write_text(json.dumps([trajectory(text) for text in FEEDBACK.values()]))
    files = f"{tmp_path / 'one.json'},{tmp_path / 'two.json'}"
    run_command(monkeypatch, "data", "stats", files, "--out", tmp_path / "new")
    shown = capsys.readouterr().out
    assert shown.count("1 (20.0%)") == 2 * len(FEEDBACK)
    assert shown.count("4 (80.0%)") == 2
    written = json.loads((tmp_path / "new" / "error_statistics.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in written] == ["one.json", "two.json"]
    assert str(tmp_path) not in json.dumps(written)
    assert matplotlib.image.imread(tmp_path / "new" / "error_statistics.png").std() > 0.01
    for words, message in (
        ([], "name a file with trajectories"),
        ([tmp_path / "none.json"], "none.json does not exist"),
        ([files, "--rules", "strict"], '--rules is "strict"; give structured or reference'),
        ([f"{files},{tmp_path / 'one.json'}"], "one.json is named twice"),
        ([files, "--outt", "x"], "did you mean --out?"),
        ([files, "--out", tmp_path / "one.json"], "is no folder; name a folder"),
    ):
        with pytest.raises(SystemExit) as end:
            run_command(monkeypatch, "data", "stats", *words)
        assert end.value.code == 2
        assert message in capsys.readouterr().err
