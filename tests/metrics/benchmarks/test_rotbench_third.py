"""RoTBench's third turn: asked, converted and scored under ids and ceilings of its own; the first turn as before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.data.public.convert import Request, convert
from llamafactory_ext.errors import DataError
from llamafactory_ext.metrics import read_report, score, write_report
from llamafactory_ext.metrics.references import read_references
from llamafactory_ext.report.runs import read_runs
from llamafactory_ext.serving.infer.prompts import chat_messages
from llamafactory_ext.serving.infer.questions import of_benchmark
from metrics.published_data import write_predictions

pytestmark = pytest.mark.fast

CEILINGS = {"clean": "95.71", "slight": "95.71", "medium": "95.71", "heavy": "97.86", "union": "98.57"}
TOOLS = [{"name": name, "description": "", "parameters": {"type": "object"}} for name in ("open", "ask", "end")]


def said(name: str, arguments: str) -> str:
    return f"Thought: I use {name}.\nAction: {name}\nAction Input: {arguments}"


GOLD = said("open", '{"door": "2"}')


def record(*before: dict[str, str], gold: Any = (GOLD,)) -> dict[str, Any]:
    opening = [
        {"from": "system", "value": f"You have access of the following tools:\n{json.dumps(TOOLS)}\n\nLet's Begin!\n"},
        {"from": "user", "value": "Open a door.\nBegin!\n"},
    ]
    return {
        "id": "Turn 3: Open a door.",
        "scenario": "PL",
        "conversations": [*opening, *before, {"from": "assistant", "value": [*gold]}],
    }


BEFORE = (
    {"from": "assistant", "value": said("open", '{"door": "1"}')},
    {"from": "function", "value": "it is locked"},
    {"from": "assistant", "value": said("ask", '{"question": "Which?"}')},
    {"from": "user", "value": "The second."},
)
FIRST, THIRD = record(), record(*BEFORE)


def write(folder: Path, level: str, *records: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{level}.json").write_text(json.dumps(records), encoding="utf-8")
    return folder


@pytest.mark.parametrize("level", CEILINGS)
def test_ids_and_ceilings_differ_from_the_first_turn_s(tmp_path: Path, level: str) -> None:
    first, third = write(tmp_path / "a", level, FIRST, FIRST), write(tmp_path / "b", level, THIRD, THIRD)
    assert [item.id for item in read_references("rotbench", first).items] == [f"{level}:0", f"{level}:1"]
    ids = [item.id for item in read_references("rotbench", third).items]
    assert ids == [f"third-{level}:0", f"third-{level}:1"]
    predictions = write_predictions(tmp_path / "p.jsonl", "rotbench", dict.fromkeys(ids, GOLD))
    found = score("rotbench", predictions, third)
    assert [found.figure(name).value for name in ("TS", "PI", "CF")] == [1.0] * 3
    assert f"third-{level} {CEILINGS[level]}." in found.notes[0]
    with pytest.raises(DataError, match="does not hold"):
        score("rotbench", predictions, first)
    old = write_predictions(tmp_path / "p.jsonl", "rotbench", dict.fromkeys((f"{level}:0", f"{level}:1"), GOLD))
    assert score("rotbench", old, first).figure("CF").value == 1.0


def test_the_third_turn_is_asked_with_all_that_was_said(tmp_path: Path) -> None:
    (asked,) = of_benchmark("rotbench", write(tmp_path / "a", "clean", THIRD)).questions
    assert asked.id == "third-clean:0"
    assert [turn.role for turn in asked.turns] == ["user", "function", "observation", "function", "observation"]
    _, call, result, question, answer = chat_messages(asked, arguments_as_text=True)
    assert (result["content"], answer["content"]) == ("it is locked", "The second.")
    assert [message["tool_calls"][0]["id"] for message in (call, question)] == [
        result["tool_call_id"],
        answer["tool_call_id"],
    ]


def test_the_third_turn_is_converted(tmp_path: Path) -> None:
    made = convert(Request("rotbench", write(tmp_path / "Third_Turn", "clean", THIRD), tmp_path / "out"))
    (converted,) = json.loads(made.output.read_text("utf-8"))
    roles = [turn["from"] for turn in converted["conversations"]]
    assert roles == ["human", "function_call", "observation", "function_call", "observation", "function_call"]
    assert converted["id"] == "third-clean:0"
    assert json.loads(converted["reference"]) == THIRD
    assert '{"name": "open", "arguments": {"door": "2"}}' in converted["conversations"][-1]["value"]


@pytest.mark.parametrize(
    "before",
    [
        BEFORE[:1],
        BEFORE[:3],
        ({"from": "assistant", "value": "Hello."}, BEFORE[1]),
        (BEFORE[1], BEFORE[0]),
        ({"from": "assistant", "value": ["a"]}, BEFORE[1]),
        (BEFORE[0], {"from": "function", "value": None}),
    ],
)
def test_turns_that_are_no_calls_are_named(tmp_path: Path, before: Any) -> None:
    folder = write(tmp_path / "a", "clean", record(*before))
    with pytest.raises(DataError, match="index 0: the record has "):
        convert(Request("rotbench", folder, tmp_path / "out"))


def test_both_turns_stand_side_by_side_in_a_report(tmp_path: Path) -> None:
    for name, one, text in (("first", FIRST, GOLD), ("third", THIRD, "no")):
        folder = write(tmp_path / name, "clean", one)
        (item,) = read_references("rotbench", folder).items
        predictions = write_predictions(tmp_path / f"{name}.jsonl", "rotbench", {item.id: text})
        write_report(score("rotbench", predictions, folder), tmp_path / "run" / f"{name}.json")
    assert read_report(tmp_path / "run" / "third.json").part == "third turn"
    assert "part" not in json.loads((tmp_path / "run" / "first.json").read_text("utf-8"))
    (run,) = read_runs([str(tmp_path / "run")])
    assert (run.cells["rotbench/TS"].value, run.cells["rotbench (third turn)/TS"].value) == (100.0, 0.0)
