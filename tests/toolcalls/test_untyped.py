"""Bare text becomes a value by the schema of its parameter, or by what it is where nobody declares it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_ext.errors import DataError
from llamafactory_ext.toolcalls import Tool, ToolCall, parse_calls, render_calls
from llamafactory_ext.toolcalls.untyped import read_value, write_value
from toolcalls.call_strategies import TEXTS, VALUES

pytestmark = pytest.mark.fast

_UNTYPED = ("glm4_moe", "qwen3_coder", "seed_oss", "minimax2")

DECLARED: list[tuple[Any, str, Any]] = [
    ({"type": "string"}, "75001", "75001"),
    ({"type": "string"}, "true", "true"),
    ({"type": "string"}, "null", "null"),
    ({"type": "string"}, '"quoted"', '"quoted"'),
    ({"type": "string"}, ' {"a": 1}\n', ' {"a": 1}\n'),
    ({"type": "STRING"}, "1", "1"),  # Gemini
    ({"type": "str"}, "1", "1"),
    ({"type": "varchar(20)"}, "1", "1"),
    ({"type": "integer"}, "3", 3),
    ({"type": "integer"}, " -3\n", -3),
    ({"type": "integer"}, "three", "three"),
    ({"type": "number"}, "1e3", 1000.0),
    ({"type": "float"}, "0.5", 0.5),
    ({"type": "number"}, "NaN", "NaN"),
    ({"type": "number"}, "1e999", "1e999"),
    ({"type": "boolean"}, "true", True),
    ({"type": "boolean"}, "True", True),  # Qwen3-Coder's published template
    ({"type": "integer"}, "None", None),
    ({"type": "array", "items": {"type": "string"}}, '["a", 1]', ["a", 1]),
    ({"type": "dict"}, '{"a": {"b": null}}', {"a": {"b": None}}),  # BFCL
    ({"type": "array"}, "a, b", "a, b"),
    ({"type": "object"}, "[" * 100_000, "[" * 100_000),
    ({"type": ["string", "null"]}, "null", None),
    ({"type": ["string", "null"]}, "3", "3"),
    ({"type": ["string", "integer"]}, "3", 3),
    ({"type": ["string", "integer"]}, "3.5", "3.5"),
    ({"type": ["string", "number"]}, "3", 3),
    ({"type": "string", "nullable": True}, "null", None),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "null", None),
    ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "[1]", "[1]"),
    ({"oneOf": [{"type": "array"}, {"type": "string"}]}, "[1]", [1]),
    ({"anyOf": [{"enum": ["1", "2"]}, {"type": "null"}]}, "2", "2"),
    ({"enum": ["1", "2"]}, "1", "1"),
    ({"enum": [1, 2]}, "1", 1),
    ({"const": "1"}, "1", "1"),
    ({"type": "string", "enum": ["1"]}, "1", "1"),
    ({"type": "any"}, "1", 1),
    ({"anyOf": [{"type": "string"}, {"$ref": "#/$defs/x"}]}, "1", 1),
]
UNDECLARED: list[tuple[str, Any]] = [
    ("Paris", "Paris"),
    ("", ""),
    ("3", 3),
    ("-0.5", -0.5),
    ("007", "007"),
    ("2024-05-01", "2024-05-01"),
    ("true", True),
    ("True", "True"),
    ("null", None),
    ("NaN", "NaN"),
    ("Infinity", "Infinity"),
    ('{"a": [1, "2"]}', {"a": [1, "2"]}),
    ("{a: 1}", "{a: 1}"),
    ("[1, 2", "[1, 2"),
    ("9" * 5000, "9" * 5000),
]


@pytest.mark.parametrize(("schema", "text", "value"), DECLARED)
def test_the_schema_tells_the_type(schema: Any, text: str, value: Any) -> None:
    assert repr(read_value(text, schema)) == repr(value)


@pytest.mark.parametrize(("text", "value"), UNDECLARED)
def test_without_a_schema_what_is_json_is_json(text: str, value: Any) -> None:
    assert repr(read_value(text, None)) == repr(read_value(text, {})) == repr(value)


@given(TEXTS)
def test_declared_texts_stay_as_they_are(text: str) -> None:
    assert read_value(write_value(text), {"type": "string"}) == text


@given(VALUES.filter(lambda value: not isinstance(value, str)))
def test_other_values_come_back_with_their_types(value: Any) -> None:
    for schema in (None, {}, {"type": "number"}, {"type": ["object", "array"]}):
        assert repr(read_value(write_value(value), schema)) == repr(json.loads(json.dumps(value)))


@given(st.text(max_size=20), VALUES)
def test_any_text_gives_a_value_under_any_schema(text: str, odd: Any) -> None:
    for schema in ({"type": odd}, {"anyOf": odd}, {"enum": odd}, {"oneOf": [{"type": odd}]}):
        read_value(text, schema)


@pytest.mark.parametrize("name", _UNTYPED)
def test_formats_ask_the_declared_tool(name: str) -> None:
    call = ToolCall("find", {"zip": "75001", "days": 3, "note": "null"})
    tool = Tool(
        "find", parameters={"zip": {"type": "string"}, "days": {"type": "integer"}, "note": {"type": "string"}}
    )
    text = render_calls([call], name)
    assert parse_calls(text, name, [tool]) == [call]
    assert parse_calls(text, name, [Tool("other")]) == [ToolCall("find", {"zip": 75001, "days": 3, "note": None})]


_HELD = [
    "</parameter> x",
    "a</arg_value>b",
    "</tool_call>",
    "<parameter=y>",
    "<function=g>",
    "<arg_key>k</arg_key>",
    "\n",
]
_ENDS = {
    "glm4_moe": "</arg_value>\n<arg_key>k",
    "qwen3_coder": "</parameter>\n<parameter=y>",
    "seed_oss": "</parameter>\n</function>",
    "minimax2": '</parameter><parameter name="y">',
    "deepseek_v32": '</｜DSML｜parameter>\n<｜DSML｜parameter name="y">',
    "gemma4": '<|"|>,y:<|"|>',
}


@pytest.mark.parametrize("name", _ENDS)
@pytest.mark.parametrize("text", _HELD)
def test_marks_inside_a_value_are_held(name: str, text: str) -> None:
    call = ToolCall("f", {"x": text, "z": text})
    assert parse_calls(render_calls([call, call], name), name) == [call, call]


@pytest.mark.parametrize("name", _ENDS)
def test_marks_that_end_a_value_are_refused_when_written(name: str) -> None:
    with pytest.raises(DataError, match=r"has no escapes.*choose another format"):
        render_calls([ToolCall("g"), ToolCall("f", {"x": f"a{_ENDS[name]} b"})], name)
