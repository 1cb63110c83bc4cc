"""Calls, thoughts and results as parts or members of messages, and results in another order than the calls."""

from __future__ import annotations

import json
from typing import Any

import pytest

from data.test_layouts import CITY, DONE, USER, read
from llamafactory_ext.data.entries import Dialogue
from llamafactory_ext.data.message_parts import Words
from llamafactory_ext.templates.messages import read_calls, results

pytestmark = pytest.mark.fast


def _answered(*ids: str) -> list[dict[str, Any]]:
    calling = [{"id": key, "function": {"name": f"f_{key}", "arguments": "{}"}} for key in ("a", "b", "c")]
    results = [{"role": "tool", "tool_call_id": key, "content": key.upper()} for key in ids]
    return [USER, {"role": "assistant", "content": None, "tool_calls": calling}, *results, DONE]


@pytest.mark.parametrize(
    ("ids", "order"),
    [
        ("abc", "ABC"),
        ("cab", "ABC"),
        ("ba", "BA"),  # one is missing: nothing says which place is empty
        ("abb", "ABB"),
        ("xyz", "XYZ"),
    ],
)
def test_results_stand_in_the_order_of_their_calls(ids: str, order: str) -> None:
    found = read({"messages": _answered(*ids)})
    assert isinstance(found, Dialogue)
    assert results(found.turns[2][1]) == list(order)


def test_calls_and_results_as_parts_of_messages() -> None:
    """Anthropic's messages."""
    used = [
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "1", "name": "get_weather", "input": {"city": "Paris"}},
        {"type": "tool_use", "id": "2", "name": "now", "input": {}},
    ]
    returned = [
        {"type": "tool_result", "tool_use_id": "2", "content": "noon"},
        {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "sun"}]},
    ]
    messages = [USER, {"role": "assistant", "content": used}, {"role": "user", "content": returned}, DONE]
    found = read({"messages": messages})
    assert isinstance(found, Dialogue)
    assert [role for role, _ in found.turns] == ["human", "function_call", "observation", "gpt"]
    turn = read_calls(found.turns[1][1])
    assert turn is not None
    assert (turn.thought, [(call.name, call.arguments) for call in turn.calls]) == (
        "I look.",
        [("get_weather", {"city": "Paris"}), ("now", {})],
    )
    assert results(found.turns[2][1]) == ["sun", "noon"]
    assert found.lost == ()
    mixed = [*returned, {"type": "text", "text": "And now?"}]
    refused = read({"messages": [*messages[:2], {"role": "user", "content": mixed}, DONE]})
    assert isinstance(refused, str)
    assert "turn 3" in refused
    assert "two messages" in refused


def _call_turn(value: str, words: Words | None = None, **more: Any) -> Dialogue:
    entry = {"formatting": "sharegpt", "columns": {"messages": "conversations"}}
    said = [{"from": "human", "value": "Go"}, {"from": "function_call", "value": value, **more}]
    found = read({"conversations": said}, words, **entry)
    assert isinstance(found, Dialogue), found
    return found


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
@pytest.mark.parametrize("words", [None, Words(("[T]", "[/T]"), ("[C]", "[/C]"))], ids=["default", "own words"])
@pytest.mark.parametrize(
    ("value", "said", "expected"),
    [
        (json.dumps(CITY), "", CITY),
        (f"I look.\n<tool_call>{json.dumps(CITY)}</tool_call>", "I look.\n", CITY),
        (json.dumps([CITY, CITY]), "", [CITY, CITY]),
        ('{"name": "f", "arguments": null}', "", {"name": "f", "arguments": {}}),
    ],
)
def test_a_thought_in_a_member_stands_before_the_calls_of_a_sharegpt_turn(
    value: str, said: str, expected: Any, words: Words | None, key: str
) -> None:
    found = _call_turn(value, words, **{key: "plan"})
    used = words or Words()
    assert used.call is not None
    assert found.lost == ()
    before, _, rest = found.turns[1][1].partition(used.call[0])
    assert before == f"{used.thought[0]}plan{used.thought[1]}{said}"
    assert json.loads(rest.removesuffix(used.call[1])) == expected


def test_a_thought_without_a_place_beside_the_calls_of_a_sharegpt_turn_is_told() -> None:
    found = _call_turn(json.dumps(CITY), Words(call=None), reasoning_content="plan")
    assert json.loads(found.turns[1][1]) == CITY
    assert [number for number, _ in found.lost] == [2]


@pytest.mark.parametrize(
    "value",
    [
        '{"name": "f", "arguments": null}',
        '{"name": "f", "arguments": ""}',
        '{"name": "f", "arguments": "null"}',
        '{"name": "f"}',
        '{"arguments" : null, "name": "f"}',
    ],
)
def test_no_arguments_of_a_sharegpt_call_are_an_empty_object(value: str) -> None:
    none = {"name": "f", "arguments": {}}
    assert json.loads(_call_turn(value).turns[1][1]) == none
    assert json.loads(_call_turn(f"[{json.dumps(CITY)}, {value}]").turns[1][1]) == [CITY, none]
    assert (
        json.loads(
            _call_turn(f"hm\n<tool_call>{value}</tool_call>").turns[1][1].partition("<tool_call>")[2].partition("<")[0]
        )
        == none
    )
