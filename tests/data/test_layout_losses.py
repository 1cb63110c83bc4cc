"""What the layouts cannot keep, or keep in an odd place, is refused or told, never lost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from data.layout_reading import CITY, DONE, USER, calls, read
from llamafactory_ext.data.entries import Dialogue

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    "message",
    [
        {"tool_calls": [{"function": CITY}], "function_call": {"name": "f", "arguments": "{}"}},
        {"tool_calls": [{"function": CITY}], "content": '<tool_call>{"name": "f", "arguments": {}}</tool_call>'},
        {"tool_calls": [{"function": CITY}], "content": f"I look.\n{json.dumps(CITY)}"},
        {"tool_calls": [{"function": CITY}], "content": "<|tool_call_start|>[f(x=1)]<|tool_call_end|>"},
        {"tool_calls": [{"function": CITY}], "content": [{"type": "tool_use", "name": "f", "input": {}}]},
    ],
)
def test_calls_in_two_places_of_a_message_are_refused(message: dict[str, Any]) -> None:
    found = read({"messages": [USER, {"role": "assistant", "content": None, **message}, DONE]})
    assert isinstance(found, str)
    assert found.startswith("turn 2: ")
    assert "calls" in found


def test_the_same_calls_in_two_places_are_one() -> None:
    message = {"role": "assistant", "tool_calls": [{"function": CITY}], "function_call": CITY}
    found = read({"messages": [USER, message, {"role": "tool", "content": "1"}, DONE]})
    assert isinstance(found, Dialogue)
    assert json.loads(found.turns[1][1]) == CITY


@pytest.mark.parametrize(
    ("results", "told"),
    [
        ([("c0", "1"), ("c1", "2")], []),
        ([("c1", "2"), ("c0", "1")], []),
        ([("c1", "2")], ["2 calls have 1 results"]),
        ([("c0", "1"), ("zz", "2")], ["its result names no call before it"]),
        ([("c0", "1"), ("c1", "2"), ("c1", "3")], ["2 calls have 3 results"]),
        ([(None, "1"), (None, "2")], []),
        ([(None, "1")], ["2 calls have 1 results"]),
    ],
)
def test_results_that_do_not_fit_their_calls_are_told(results: list[Any], told: list[str]) -> None:
    called = {"role": "assistant", "tool_calls": [{"id": f"c{at}", "function": CITY} for at in range(2)]}
    answers = [{"role": "tool", "content": text, "tool_call_id": key} for key, text in results]
    found = read({"messages": [USER, called, *answers, DONE]})
    assert isinstance(found, Dialogue)
    assert [what for _, what in found.lost] == told


def test_words_behind_the_calls_of_a_sharegpt_turn_are_told() -> None:
    written = json.dumps(CITY)
    for text, told in ((f"{written}\nI wait.", True), (f"```json\n{written}\n```", False), (written, False)):
        turns = [{"from": "human", "value": "a"}, {"from": "function_call", "value": text}]
        found = read({"conversations": turns}, formatting="sharegpt")
        assert isinstance(found, Dialogue)
        assert bool(found.lost) == told
        assert ("I wait." in found.turns[1][1]) == told
        assert "```" not in found.turns[1][1]


@pytest.mark.parametrize(
    "function",
    [
        {"name": "f", "argumets": {"x": 1}},
        {"name": "f", "args": {"x": 1}},
        {"name": "f", "arguments": None, "kwargs": '{"x": 1}'},
        {"name": "f", "arguments": {}, "x": [1]},
        {"name": "f", "arguments": {"x": 1}, "parameters": {"x": 2}},
    ],
)
def test_arguments_under_another_key_are_never_lost(function: dict[str, Any]) -> None:
    for stated in ({"function": function}, function):
        found = read({"messages": [USER, {"role": "assistant", "tool_calls": [stated]}, DONE]})
        assert isinstance(found, str)
        assert found.startswith("turn 2: the ")
        assert "arguments" in found


def test_what_stands_beside_a_call_without_arguments_is_no_argument() -> None:
    stated = {
        "id": "a",
        "type": "function",
        "index": 0,
        "function": {"name": "f", "description": "F.", "strict": True},
    }
    found = read({"messages": [USER, {"role": "assistant", "tool_calls": [stated]}, DONE]})
    assert isinstance(found, Dialogue)
    assert json.loads(found.turns[1][1]) == {"name": "f", "arguments": {}}


@pytest.mark.parametrize("key", ["tool_call", "toolCalls", "tool_cals", "function_calls", "calls", "tool_uses"])
def test_calls_under_another_key_are_never_lost(key: str) -> None:
    found = read({"messages": [USER, {**DONE, key: [{"function": CITY}]}]})
    assert isinstance(found, str)
    assert found == f'turn 2: its calls stand under "tool_calls", not "{key}"'


@pytest.mark.parametrize("key", ["thought", "thoughts", "reasoning_text", "resoning_content", "cot", "rationale"])
def test_thoughts_under_another_key_are_told(key: str) -> None:
    found = read({"messages": [{**USER, key: "hm"}, {**DONE, key: "hm"}]})
    assert isinstance(found, Dialogue)
    assert [(number, what.split()[0]) for number, what in found.lost] == [(2, f'"{key}"')]


@pytest.mark.parametrize("key", ["id", "name", "recalls", "call_count", "model", "annotations", "reason"])
def test_other_keys_of_a_message_mean_nothing(key: str) -> None:
    found = read({"messages": [USER, {**DONE, key: ["x"]}]})
    assert isinstance(found, Dialogue)
    assert found.lost == ()


def test_errors_beside_the_text_of_a_result_are_told() -> None:
    part = {"type": "tool_result", "tool_use_id": "c", "content": "no", "is_error": True}
    for result in (
        {"role": "user", "content": [part]},
        {"role": "tool", "content": "no", "is_error": True},
        {"role": "tool", "content": "no", "error": "not found"},
    ):
        found = read({"messages": [USER, calls(CITY), result, DONE]})
        assert isinstance(found, Dialogue)
        assert [number for number, what in found.lost if "is not kept: feedback is judged by its text" in what] == [3]
    found = read({"messages": [USER, calls(CITY), {"role": "tool", "content": "1", "is_error": False}, DONE]})
    assert isinstance(found, Dialogue)
    assert found.lost == ()
