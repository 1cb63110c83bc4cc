"""API-Bank's level-1 calls as tasks by domain: halves by dialogue, other domains counted, bad files named."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.cl.scoring import call
from llamafactory_ext.cl.toolsets import DOMAINS, convert_api_bank, read_api_bank
from llamafactory_ext.errors import DataError, OptionError

pytestmark = pytest.mark.fast
APIS = {
    "账户管理": "GetUserToken",
    "健康管理": "QueryHealthData",
    "日程安排和管理": "AddAlarm",
    "财务管理": "QueryStock",
}


@pytest.fixture
def api_bank(tmp_path: Path) -> Path:
    """The published layout, small: four dialogues of two calls for each domain, and one call of another."""
    folder = tmp_path / "api_bank"
    (folder / "meta").mkdir(parents=True)
    (folder / "test-data").mkdir()
    lines = ["id,应用场景,类名", *(f"{i},{domain},{api}" for i, (domain, api) in enumerate(APIS.items()))]
    (folder / "meta/all_apis.csv").write_text("\n".join([*lines, "9,旅游出行,QueryHotel"]), encoding="utf-8-sig")
    calls = [
        {
            "file": f"{api}-{dialogue}.jsonl",
            "id": turn,
            "instruction": "Generate.",
            "input": f"User: {api} {dialogue} {turn}",
            "expected_output": f"API-Request: [{api}(key='{dialogue}')]",
        }
        for api in APIS.values()
        for dialogue in range(4)
        for turn in range(2)
    ]
    calls.append({**calls[0], "expected_output": "API-Request: [QueryHotel(city='x')]"})
    (folder / "test-data/level-1-api.json").write_text(json.dumps(calls), encoding="utf-8")
    return folder


def test_every_domain_has_two_halves_of_whole_dialogues(api_bank: Path) -> None:
    found = read_api_bank(api_bank, seed=2)
    assert list(found.tasks) == list(DOMAINS.values()) == ["accounts", "health", "schedule", "finance"]
    assert found.others == {"旅游出行": 1}
    for task in found.tasks.values():
        assert len(task.train) + len(task.test) == 8
        dialogues = [{record["input"].rsplit(" ", 1)[0] for record in half} for half in (task.train, task.test)]
        assert not dialogues[0] & dialogues[1]
        assert all(call(record["output"], record["output"]) for record in task.test)
    assert read_api_bank(api_bank, seed=2) == found
    assert any(read_api_bank(api_bank, seed=seed) != found for seed in (5, 6))


def test_files_are_written_by_domain_and_somebodys_stay(api_bank: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = convert_api_bank(api_bank, out, seed=2)
    for name, task in found.tasks.items():
        assert json.loads((out / name / "test.json").read_text("utf-8")) == task.test
    (out / "health/test.json").write_text("mine", encoding="utf-8")
    with pytest.raises(OptionError, match="did not write it"):
        convert_api_bank(api_bank, out, seed=3)
    assert (out / "health/test.json").read_text("utf-8") == "mine"


def remove(name: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).unlink()


def write(name: str, text: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("meta/all_apis.csv"), "all_apis.csv is missing; name API-Bank's folder"),
        (remove("test-data/level-1-api.json"), "level-1-api.json is missing"),
        (write("meta/all_apis.csv", "a,b\n1,2"), "all_apis.csv has no columns"),
        (write("meta/all_apis.csv", ""), "all_apis.csv has no columns"),
        (write("test-data/level-1-api.json", "{}"), "is no list of calls"),
        (write("test-data/level-1-api.json", "[1]"), "call 1 lacks a text of file"),
        (write("test-data/level-1-api.json", "["), "level-1-api.json cannot be read"),
        (write("test-data/level-1-api.json", "[" * 100_000), "level-1-api.json cannot be read"),
        (
            write(
                "test-data/level-1-api.json",
                json.dumps([dict.fromkeys(("file", "instruction", "input", "expected_output"), "x")]),
            ),
            "leaves accounts, health, schedule, finance without items in one half; give another --seed",
        ),
    ],
)
def test_bad_files_are_named(damage: Callable[[Path], Any], message: str, api_bank: Path, tmp_path: Path) -> None:
    damage(api_bank)
    with pytest.raises(DataError, match=message):
        convert_api_bank(api_bank, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_published_calls_by_domain() -> None:
    """Counts of the published files, where they are at hand."""
    folder = Path(os.environ.get("LLAMAFACTORY_EXT_SHARED", Path(__file__).parents[3] / "shared")) / "data/api_bank"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here")
    found = read_api_bank(folder)
    counts = {name: len(task.train) + len(task.test) for name, task in found.tasks.items()}
    assert counts == {"accounts": 117, "health": 103, "schedule": 71, "finance": 44}
    assert sum(counts.values()) + sum(found.others.values()) == 399
    assert all(task.leaked == 0 and len(task.test) >= 18 for task in found.tasks.values())
