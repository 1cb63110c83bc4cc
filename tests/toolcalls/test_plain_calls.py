"""A text that is one call in JSON is read at once, and as the walk over all formats reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_ext.errors import CallParseError
from llamafactory_ext.toolcalls import Detected, Tool, ToolCall, detect_turn, reader
from llamafactory_ext.toolcalls.values import json_key, same_json
from toolcalls.call_strategies import ARGUMENTS, TEXTS, VALUES

pytestmark = pytest.mark.fast

TOOLS = [Tool("f", "", {"x": {"type": "string"}}), Tool("get_weather")]


def walked(text: str, tools: list[Tool]) -> Detected | str:
    """The reading without the short way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_plain_call", lambda _: None)
        return read(text, tools)


def read(text: str, tools: list[Tool]) -> Detected | str:
    try:
        return detect_turn(text, tools)
    except CallParseError as error:
        return str(error)


@given(
    name=st.one_of(st.sampled_from(["f", "get_weather", "tool_use", "function"]), TEXTS.filter(bool)),
    arguments=st.one_of(ARGUMENTS, VALUES, st.dictionaries(st.sampled_from(["type", "properties", "name"]), VALUES)),
    keys=st.sampled_from([("name", "arguments"), ("name", "parameters"), ("arguments", "name")]),
    more=st.one_of(st.just({}), st.dictionaries(st.sampled_from(["id", "type", "function", "tool_calls"]), VALUES)),
    after=st.sampled_from(["", "", " \n", ", ", '{"name": "f", "arguments": {}}', "\nObservation: 1", "</think>"]),
)
def test_the_short_way_reads_as_the_walk(
    name: str, arguments: Any, keys: tuple[str, str], more: dict[str, Any], after: str
) -> None:
    members = {key: name if key == "name" else arguments for key in keys}
    for text in (json.dumps({**members, **more}), json.dumps({**members, **more}, ensure_ascii=False)):
        for tools in ([], TOOLS):
            assert read(text + after, tools) == walked(text + after, tools)


def test_the_short_way_is_taken() -> None:
    text = '{"name": "f", "arguments": {"x": "</think> <tool_call> Observation:"}}\n'
    found = reader._plain_call(text)
    assert found is not None
    assert [one.call for one in found.calls] == [ToolCall("f", {"x": "</think> <tool_call> Observation:"})]
    assert found == walked(text, TOOLS)
    for other in (f"[{text}]", f"<think>{text}", '{"name": "f", "arguments": {"x": NaN}}', text + text, ""):
        assert reader._plain_call(other) is None


@given(one=VALUES, other=VALUES)
def test_values_are_equal_where_their_keys_are(one: Any, other: Any) -> None:
    assert same_json(one, other) == (json_key(one) == json_key(other))
    assert same_json(one, json.loads(json.dumps(one)))


def test_numbers_are_equal_by_value_and_true_is_none() -> None:
    values: list[Any] = [1, 1.0, True, "1", None, 0, False, "", [], {}, [1], (1.0,), [True], {"a": 1}, {"a": True}]
    for one in values:
        for other in values:
            assert same_json(one, other) == (json_key(one) == json_key(other)), (one, other)
