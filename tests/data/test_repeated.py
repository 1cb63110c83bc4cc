"""A key that stands twice in one object of a record is told, wherever it stands and whatever reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.data.checks.audit import audit, call_faults
from llamafactory_ext.data.entries import DataEntry, Dialogue
from llamafactory_ext.data.files.reading import iter_records
from llamafactory_ext.data.files.repeated import as_text, repeated_key
from llamafactory_ext.data.read_back import REPEATED, compare_turn, repeated_in_answer
from llamafactory_ext.toolcalls import FORMATS, Tool, ToolCall, detect, detect_turn

pytestmark = pytest.mark.fast

GOOD = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}'
RECORDS = {
    "the messages": GOOD.replace("]}", '], "messages": [{"role": "user", "content": "c"}]}'),
    "a content": GOOD.replace('"content": "b"', '"content": "b", "content": "c"'),
    "arguments as an object": GOOD.replace(
        '"content": "b"',
        '"tool_calls": [{"function": {"name": "f", "arguments": {"x": 1, "x": 2}}}]',
    ),
}
ENTRY = {"formatting": "openai", "columns": {"messages": "messages"}}


def read(record: Any, **entry: Any) -> Dialogue | str:
    return DataEntry.of("d", {**ENTRY, **entry}, Path("d.json")).dialogue(record)


@pytest.mark.parametrize("layout", ["list", "lines", "indented"])
@pytest.mark.parametrize("case", RECORDS)
def test_a_repeated_key_of_a_file_is_told(case: str, layout: str, tmp_path: Path) -> None:
    text = RECORDS[case]
    path = tmp_path / ("d.jsonl" if layout == "lines" else "d.json")
    separator = {"list": ",", "lines": "\n", "indented": ",\n  "}[layout]
    records = separator.join([GOOD, text, GOOD])
    path.write_text(records if layout == "lines" else f"[\n{records}\n]", "utf-8")
    first, second, third = (record for _, record in iter_records(path))
    assert first == third == json.loads(GOOD)
    assert (repeated_key(first), repeated_key(third)) == (None, None)
    key = {"the messages": "messages", "a content": "content"}.get(case, "x")
    for one in (second, json.loads(as_text(second))):  # as it travels through LLaMA-Factory's loader
        assert repeated_key(one) == key
        found = read(one)
        assert isinstance(found, str)
        assert f'the key "{key}" stands twice' in found
    told = audit(DataEntry.of("d", ENTRY, path)).lines()
    assert len(told) == 1
    assert f'the key "{key}" stands twice' in told[0]
    assert ("line 2" if layout == "lines" else "index 1") in told[0]


@pytest.mark.parametrize(
    ("answer", "answered", "is_call"),
    [
        ('<tool_call>{"name": "f", "arguments": {"x": 1, "x": 2}}</tool_call>', False, True),
        ('Action: f\nAction Input: {"x": 1, "x": 2}', True, True),
        ('I call it.\n{"name": "f", "arguments": {"x": 1, "x": 2}}', True, True),
        ('{"name": "f", "arguments": {"x": 1, "x": 2}}', False, True),
        ('In code: `{"name": "g", "arguments": {"x": 1, "x": 2}}` is odd.', False, False),
        ('<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>', False, False),
        ("Nothing to call.", False, False),
    ],
)
def test_training_finds_in_an_answers_call_what_data_check_finds(answer: str, answered: bool, is_call: bool) -> None:
    tools = (Tool("f", "", {"x": {"type": "integer"}}),)
    found = repeated_in_answer(3, answer, tools, answered=answered)
    assert [(misread.turn, misread.what) for misread in found] == ([(3, REPEATED)] if is_call else [])
    turns = [("human", "a"), ("gpt", answer), *([("observation", "1"), ("gpt", "b")] if answered else [])]
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    dialogue = Dialogue(tuple(turns), tools=json.dumps([{"name": "f", "parameters": schema}]))
    faults = call_faults(dialogue)[0]
    assert any("stands twice" in fault for fault in faults) == is_call, faults


def test_a_key_in_a_value_that_is_cut_between_two_reads_is_no_repeated_one(tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    record = {"messages": [{"role": "user", "content": "a" * 3_000_000}], "x": 1}
    path.write_text(json.dumps([record, record]), "utf-8")
    assert [repeated_key(found) for _, found in iter_records(path)] == [None, None]


@pytest.mark.parametrize(
    "function",
    [
        {"name": "f", "arguments": '{"x": 1, "x": 2}'},
        {"name": "f", "arguments": '"{\\"x\\": 1, \\"x\\": 2}"'},
        {"name": "f", "arguments": '{"x": {"y": 1, "y": 2}}'},
    ],
)
def test_a_repeated_key_of_arguments_that_are_text_is_told(function: Any) -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [{"function": function}]}]
    found = read({"messages": messages})
    assert isinstance(found, str)
    assert found.startswith('turn 2: the key "')


_TOOL = '{"name": "f", "parameters": {"type": "object", "properties": {"x": {}, "x": {"type": "string"}}}}'


@pytest.mark.parametrize("tools", [_TOOL, f"[{_TOOL}]", [_TOOL], [{"name": "g"}, _TOOL]])
@pytest.mark.parametrize("formatting", ["openai", "sharegpt"])
def test_a_repeated_key_of_tools_that_are_text_is_told(tools: Any, formatting: str) -> None:
    if formatting == "sharegpt" and not isinstance(tools, str):
        tools = f"[{_TOOL}]"
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    entry = {"formatting": formatting, "columns": {"messages": "messages", "tools": "tools"}, "tags": tags}
    messages = json.loads(GOOD)["messages"]
    assert read({"messages": messages, "tools": tools}, **entry) == (
        'tools: the key "x" stands twice in one object, of which readers keep the last; take one out'
    )
    assert isinstance(read({"messages": messages, "tools": _TOOL.replace('"x": {}, ', "")}, **entry), Dialogue)


TWICE = {
    "json": '{"name": "f", "arguments": {"x": 1, "x": 2}}',
    "json, loose": "{'name': 'f', 'arguments': {'x': 1, 'x': 2}}",
    "json, as text": '{"name": "f", "arguments": "{\\"x\\": 1, \\"x\\": 2}"}',
    "json, within a value": '{"name": "f", "arguments": {"x": 2, "y": {"z": 1, "z": 2}}}',
    "json, its name": '{"name": "g", "name": "f", "arguments": {"x": 2}}',
    "qwen": '<tool_call>\n{"name": "f", "arguments": {"x": 1, "x": 2}}\n</tool_call>',
    "react": 'Action: f\nAction Input: {"x": 1, "x": 2}',
    "glm4": 'f\n{"x": 1, "x": 2}',
    "harmony": '<|channel|>commentary to=functions.f<|message|>{"x": 1, "x": 2}<|call|>',
    "gemma4": "<|tool_call>call:f{x:1,x:2}<tool_call|>",
    "llama31_function": '<function=f>{"x": 1, "x": 2}</function>',
    "qwen3_coder": "<function=f>\n<parameter=x>\n1\n</parameter>\n<parameter=x>\n2\n</parameter>\n</function>",
    "glm4_moe": (
        "<tool_call>f\n<arg_key>x</arg_key>\n<arg_value>1</arg_value>\n<arg_key>x</arg_key>\n"
        "<arg_value>2</arg_value>\n</tool_call>"
    ),
    "tool_calls": '{"tool_calls": [{"name": "f", "arguments": {"x": 1, "x": 2}}]}',
    "mistral": '[TOOL_CALLS] [{"name": "f", "arguments": {"x": 1, "x": 2}}]',
    "kimi_k2": '<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{"x": 1, "x": 2}<|tool_call_end|>',
}


@pytest.mark.parametrize("case", TWICE)
def test_a_repeated_key_in_the_text_of_a_call_is_told(case: str) -> None:
    """The reader keeps the last value, as the evaluators' `json.loads` does, and says so."""
    tools = [Tool("f", "", {"x": {"type": "integer"}})]
    found = detect_turn(TWICE[case], tools)
    assert (found.calls[0].call.name, found.calls[0].call.arguments["x"]) == ("f", 2)
    assert found.repeated is not None
    written = '{"name": "f", "arguments": {"x": 2}}'
    told = compare_turn(1, {"role": "function", "content": TWICE[case]}, written, tools)
    assert REPEATED in [one.what for one in told]


def test_python_refuses_an_argument_given_twice() -> None:
    tools = [Tool("f")]
    with pytest.raises(Exception, match="given twice"):
        detect("f(x=1, x=2)", tools)


@pytest.mark.parametrize("form", FORMATS)
def test_ordinary_calls_repeat_nothing(form: str) -> None:
    assert detect_turn(FORMATS[form].example).repeated is None
    two = [ToolCall("f", {"x": 1}), ToolCall("f", {"x": 2})]
    assert detect_turn(json.dumps([{"name": one.name, "arguments": one.arguments} for one in two])).repeated is None
