"""A text that is one call in JSON is read at once, and as the walk over all formats reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_ext.errors import CallParseError
from llamafactory_ext.toolcalls import Detected, Tool, ToolCall, detect_turn, reader
from llamafactory_ext.toolcalls.plain import plain_calls
from llamafactory_ext.toolcalls.values import json_key, same_json
from toolcalls.call_strategies import ARGUMENTS, TEXTS, VALUES

pytestmark = pytest.mark.fast

TOOLS = [Tool("f", "", {"x": {"type": "string"}}), Tool("get_weather")]


def walked(text: str, tools: list[Tool], form: str | None = None) -> Detected | str:
    """The reading without the short way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "plain_calls", lambda *_: None)
        return read(text, tools, form)


def read(text: str, tools: list[Tool], form: str | None = None) -> Detected | str:
    try:
        return detect_turn(text, tools, form)
    except CallParseError as error:
        return str(error)


AROUND = [
    ("", ""),
    ("<tool_call>\n", "\n</tool_call>"),
    ("<think>\n\n</think>\n\n<tool_call>\n", "\n</tool_call><|im_end|>\n"),
    ("\n<think>so: f(x=1)\nObservation: 2 # b\n</think><tool_call>", "</tool_call>"),
    ("<think>a <tool_call></think><tool_call>", "</tool_call>"),
    ("<think>a</thinking>b</think>\n<tool_call>", "</tool_call>"),
    ("<tool_call>", "</tool_call>\n</tool_call>"),
    ("<tool_call>", ""),
]


@given(
    name=st.one_of(st.sampled_from(["f", "get_weather", "tool_use", "function"]), TEXTS.filter(bool)),
    arguments=st.one_of(ARGUMENTS, VALUES, st.dictionaries(st.sampled_from(["type", "properties", "name"]), VALUES)),
    keys=st.sampled_from([("name", "arguments"), ("name", "parameters"), ("arguments", "name")]),
    more=st.one_of(st.just({}), st.dictionaries(st.sampled_from(["id", "type", "function", "tool_calls"]), VALUES)),
    after=st.sampled_from(
        [
            "",
            "",
            " \n",
            "<|im_end|>\n",
            "<|eot_id|>",
            ", ",
            '{"name": "f", "arguments": {}}',
            "\nObservation: 1",
            "</think>",
        ]
    ),
    around=st.sampled_from(AROUND),
    form=st.sampled_from([None, None, "qwen", "ling", "json", "llama3", "react"]),
    times=st.integers(1, 2),
)
def test_the_short_way_reads_as_the_walk(
    name: str,
    arguments: Any,
    keys: tuple[str, str],
    more: dict[str, Any],
    after: str,
    around: tuple[str, str],
    form: str | None,
    times: int,
) -> None:
    members = {key: name if key == "name" else arguments for key in keys}
    for text in (json.dumps({**members, **more}), json.dumps({**members, **more}, ensure_ascii=False)):
        whole = "\n".join([around[0] + text + around[1]] * times) + after
        for tools in ([], TOOLS):
            assert read(whole, tools, form) == walked(whole, tools, form)


def test_the_short_way_is_taken() -> None:
    text = '{"name": "f", "arguments": {"x": "</think> <tool_call> Observation:"}}\n'
    call = ToolCall("f", {"x": "</think> <tool_call> Observation:"})
    tagged = f"<think>\n\n</think>\n\n<tool_call>\n{text}</tool_call>\n<tool_call>\n{text}</tool_call><|im_end|>\n"
    for taken, form, calls in ((text, None, [call]), (text, "llama3", [call]), (tagged, "qwen", [call, call])):
        found = plain_calls(taken, form)
        assert found is not None
        assert [one.call for one in found[0]] == calls
        assert Detected(*found) == walked(taken, TOOLS, form)
    for other in (f"[{text}]", f"<think>{text}", '{"name": "f", "arguments": {"x": NaN}}', text + text, ""):
        assert plain_calls(other, None) is None
    assert plain_calls(text, "qwen") is plain_calls(tagged, "llama3") is None


@given(one=VALUES, other=VALUES)
def test_values_are_equal_where_their_keys_are(one: Any, other: Any) -> None:
    assert same_json(one, other) == (json_key(one) == json_key(other))
    assert same_json(one, json.loads(json.dumps(one)))


def test_numbers_are_equal_by_value_and_true_is_none() -> None:
    values: list[Any] = [1, 1.0, True, "1", None, 0, False, "", [], {}, [1], (1.0,), [True], {"a": 1}, {"a": True}]
    for one in values:
        for other in values:
            assert same_json(one, other) == (json_key(one) == json_key(other)), (one, other)
