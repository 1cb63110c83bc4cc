"""RoTBench: the published script's verdicts with its quirks, what strict says instead, and the recorded ceiling."""

import json
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.errors import DataError
from llamafactory_ext.metrics import score
from metrics.published_data import published, write_predictions

TOOLS = [{"name": "weather"}, {"name": "ping"}, {"name": "ask_x"}, {"name": "finish_x"}]


def turn(name: str, arguments: str) -> str:
    return f"Thought: t\nAction: {name}\nAction Input: {arguments}"


def record(*gold: str) -> dict[str, Any]:
    return {
        "id": "same for all",
        "scenario": "TG",
        "conversations": [
            {"from": "system", "value": f"Tools:\n{json.dumps(TOOLS)}\n\nLet's Begin!"},
            {"from": "user", "value": "?"},
            {"from": "assistant", "value": list(gold)},
        ],
    }


WEATHER = turn("weather", '{"city": "Rome", "unit": "None"}')
CASES = {
    "gold": ((WEATHER,), turn("weather", '{"city": "Rome", "unit": "C"}'), 3, 3),
    "other value": ((WEATHER,), turn("weather", '{"city": "Oslo", "unit": "C"}'), 2, 2),
    "parameter missing": ((WEATHER,), turn("weather", '{"city": "Rome"}'), 1, 1),
    "other tool": ((WEATHER,), turn("ping", '{"city": "Rome", "unit": "C"}'), 0, 0),
    "an alternative": ((turn("ping", '{"a": "1"}'), WEATHER), WEATHER, 3, 3),
    "empty arguments": ((turn("ping", "{}"),), turn("ping", "{}"), 0, 3),
    "text after the JSON": ((WEATHER,), f"{WEATHER}\nThat is all.", 0, 3),
    "finish by its plain name": ((turn("finish_x", '{"answer": "a"}'),), turn("finish", '{"answer": "b"}'), 3, 3),
    "question to the user": ((turn("ask_x", '{"q": "a"}'),), turn("ask_x", '{"q": "b"}'), 3, 3),
    "number for text": ((turn("ping", '{"n": "1"}'),), turn("ping", '{"n": 1}'), 2, 2),
    "empty prediction": ((WEATHER,), "", 0, 0),
    "a list": ((WEATHER,), turn("weather", "[1]"), 0, 0),
    "a text": ((WEATHER,), turn("weather", '"Rome"'), 0, 0),
    "another format": ((WEATHER,), '{"name": "weather", "arguments": {"city": "Rome", "unit": "C"}}', 3, 3),
    "tagged JSON": (
        (WEATHER,),
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>',
        1,
        1,
    ),
    # "None" of the first alternative deletes the unit for good, so the second, whose keys no longer agree, is lost.
    "None and alternatives": (
        (WEATHER, turn("weather", '{"city": "Oslo", "unit": "C"}')),
        turn("weather", '{"city": "Oslo", "unit": "C"}'),
        2,
        3,
    ),
}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, tuple[float, ...]]]:
    folder = tmp_path_factory.mktemp("rotbench")
    (folder / "slight.json").write_text(json.dumps([record(*gold) for gold, *_ in CASES.values()]), encoding="utf-8")
    answers = {f"slight:{number}": answer for number, (_, answer, *_) in enumerate(CASES.values())}
    file = write_predictions(folder / "p.jsonl", "rotbench", answers)
    found = {}
    for mode in ("official", "strict"):
        report = score("rotbench", file, folder, mode)  # type: ignore[arg-type]
        found[mode] = {
            case: tuple(verdict.scores[name] for name in ("TS", "PI", "CF"))
            for case, verdict in zip(CASES, report.verdicts, strict=True)
        }
    return found


@pytest.mark.parametrize("case", CASES)
def test_verdicts(case: str, verdicts: dict[str, dict[str, tuple[float, ...]]]) -> None:
    for mode, level in zip(("official", "strict"), CASES[case][2:], strict=True):
        assert verdicts[mode][case] == tuple(float(level > place) for place in range(3)), mode


def test_rewritten_calls_are_counted(tmp_path: Path) -> None:
    (tmp_path / "clean.json").write_text(json.dumps([record(WEATHER)] * 2), encoding="utf-8")
    answers = {"clean:0": CASES["another format"][1], "clean:1": WEATHER}
    report = score("rotbench", write_predictions(tmp_path / "p.jsonl", "rotbench", answers), tmp_path)
    assert "1 predictions state calls as JSON and were put into the benchmark's form first." in report.notes


def test_parse_failures_are_counted(tmp_path: Path) -> None:
    (tmp_path / "clean.json").write_text(json.dumps([record(WEATHER)] * 2), encoding="utf-8")
    file = write_predictions(tmp_path / "p.jsonl", "rotbench", {"clean:0": WEATHER, "clean:1": "I do not know."})
    report = score("rotbench", file, tmp_path, "strict")
    assert [verdict.category for verdict in report.verdicts] == ["right", "no call"]
    assert report.figure("CF").parse_failures == 1
    assert report.figure("CF").value == 0.5


@pytest.mark.parametrize("broken", ["no list of tools", "[]"])
def test_foreign_references(tmp_path: Path, broken: str) -> None:
    bad = record(WEATHER)
    bad["conversations"][0]["value"] = broken
    (tmp_path / "clean.json").write_text(json.dumps([bad]), encoding="utf-8")
    file = write_predictions(tmp_path / "p.jsonl", "rotbench", {"clean:0": WEATHER})
    with pytest.raises(DataError, match="clean:0"):
        score("rotbench", file, tmp_path)


def test_published_ceiling_of_gold_answers(tmp_path: Path) -> None:
    folder = published("rotbench")
    records = {
        f"{level}:{number}": entry["conversations"][-1]["value"][0]
        for level in ("clean", "slight")
        for number, entry in enumerate(json.loads((folder / "First_Turn" / f"{level}.json").read_text("utf-8")))
    }
    file = write_predictions(tmp_path / "p.jsonl", "rotbench", records)
    official = score("rotbench", file, folder)
    assert (official.n_predictions, official.partial) == (315, False)
    for name in ("TS", "PI", "CF"):
        for level in ("clean", "slight"):
            assert round(100 * official.figure(f"{name} ({level})").value, 2) == 92.38
    assert {figure.value for figure in score("rotbench", file, folder, "strict").figures} == {1.0}
