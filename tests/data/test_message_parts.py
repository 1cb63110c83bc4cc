"""Calls and results as parts of messages, and results that come in another order than the calls."""

from __future__ import annotations

from typing import Any

import pytest

from data.test_layouts import DONE, USER, read
from llamafactory_ext.data.entries import Dialogue
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
