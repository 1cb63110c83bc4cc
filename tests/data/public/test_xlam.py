"""xLAM-60k: one request and its calls; its dictionary of parameters becomes JSON Schema."""

from __future__ import annotations

import json
from typing import Any

import pytest

from data.published import read, said
from data.samples import xlam
from llamafactory_ext.data.files.repeated import fault_of
from llamafactory_ext.data.public import tool_schemas

pytestmark = pytest.mark.fast
LAMP = {"name": "set_lamp", "arguments": {"level": 3}}


def test_xlam_is_one_request_and_its_calls() -> None:
    calls = [LAMP, {"name": "set_lamp", "arguments": {"level": 1.5, "rooms": [], "on": None, "unit": "3"}}, LAMP]
    example = read("xlam", xlam("  Dim them. ", *calls))
    assert said(example) == [
        ("human", "Dim them."),
        ("function_call", ("", [(call["name"], call["arguments"]) for call in calls])),
    ]
    assert (example.columns["system"], example.key, example.findings) == ("", "7", ())
    assert json.loads(example.columns["tools"]) == [
        {
            "name": "set_lamp",
            "description": "Set a lamp.",
            "parameters": {
                "type": "object",
                "properties": {
                    "level": {"type": "integer", "description": "From 0 to 9."},
                    "rooms": {"type": "array", "items": {"type": "string"}, "description": "Where."},
                    "unit": {"type": "string", "description": "Its unit.", "default": "lux"},
                },
                "required": ["level"],
            },
        }
    ]


@pytest.mark.parametrize(
    ("described", "schema", "required"),
    [
        ({"type": "int"}, {"type": "integer"}, True),
        ({"type": "str, optional"}, {"type": "string"}, False),
        ({"type": "str, optional", "default": ""}, {"type": "string", "default": ""}, False),
        ({"type": "bool, optional", "default": ""}, {"type": "boolean"}, False),
        ({"type": "str", "default": "7"}, {"type": "string", "default": "7"}, False),
        ({"type": "int", "default": 0}, {"type": "integer", "default": 0}, False),
        ({"type": "bool", "default": False}, {"type": "boolean", "default": False}, False),
        ({"type": "str", "default": ""}, {"type": "string", "default": ""}, True),
        ({"type": "int", "default": None}, {"type": "integer"}, True),
        ({"type": "int, default=100"}, {"type": "integer", "default": 100}, False),
        ({"type": "Optional[int]"}, {"type": "integer"}, False),
        ({"type": "int, optional", "required": True}, {"type": "integer"}, True),
        ({"type": "string", "enum": ["a"], "required": False}, {"type": "string", "enum": ["a"]}, False),
        ("float", {"type": "number"}, True),
    ],
)
def test_xlam_derives_required_from_optional_and_default(described: Any, schema: Any, required: bool) -> None:
    tool = {"name": "set_lamp", "description": "", "parameters": {"level": described}}
    parameters = json.loads(read("xlam", xlam(tools=json.dumps([tool]))).columns["tools"])[0]["parameters"]
    assert parameters == {"type": "object", "properties": {"level": schema}, "required": ["level"] * required}


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "set_lamp", "description": "", "parameters": {"type": "object", "properties": {}, "required": []}},
        {
            "type": "function",
            "function": {
                "name": "set_lamp",
                "description": "",
                "parameters": {
                    "type": "object",
                    "properties": {"type": {"type": "string"}, "p": {"anyOf": [{"type": "integer"}]}},
                    "required": ["type"],
                    "additionalProperties": False,
                },
                "strict": True,
            },
        },
    ],
)
def test_proper_tools_stay_as_they_are(tool: Any) -> None:
    assert json.loads(read("xlam", xlam(tools=json.dumps([tool]))).columns["tools"]) == [tool]


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": {"description": "Which.", "type": "str"}, "properties": {"description": "What.", "type": "str"}},
        {"properties": {"description": "What.", "type": "str"}, "required": {"description": "?", "type": "str"}},
    ],
)
def test_xlam_parameters_may_be_called_as_schema_words_are(parameters: Any) -> None:
    tools = json.dumps([{"name": "set_lamp", "description": "", "parameters": parameters}])
    found = json.loads(read("xlam", xlam(tools=tools)).columns["tools"])[0]["parameters"]
    assert list(found["properties"]) == found["required"] == list(parameters)


def test_xlam_lists_may_be_decoded() -> None:
    decoded = xlam()
    decoded |= {"tools": json.loads(decoded["tools"]), "answers": json.loads(decoded["answers"])}
    assert read("xlam", decoded) == read("xlam", xlam())
    openai = [{"type": "function", "function": {"name": "set_lamp", "arguments": '{"level": 3}'}}]
    assert said(read("xlam", xlam(answers=openai)))[1] == ("function_call", ("", [("set_lamp", {"level": 3})]))


def test_an_unknown_type_is_a_finding() -> None:
    tools = json.dumps([{"name": "set_lamp", "parameters": {"level": {"type": "Lumen"}}}])
    example = read("xlam", xlam(tools=tools))
    assert example.findings == (tool_schemas.UNKNOWN_TYPE,)
    assert json.loads(example.columns["tools"])[0]["parameters"]["properties"] == {"level": {}}


@pytest.mark.parametrize(
    "given", ["", ', "arguments": {}', ', "arguments": null', ', "arguments": ""', ', "arguments": "null"']
)
def test_xlam_no_arguments_are_none(given: str) -> None:
    answers = f'[{{"name": "set_lamp"{given}}}]'
    assert said(read("xlam", xlam(answers=answers)))[1] == ("function_call", ("", [("set_lamp", {})]))


def test_xlam_a_key_that_stands_twice_in_a_text_is_a_finding() -> None:
    answers = '[{"name": "set_lamp", "arguments": {"level": 3, "level": 4}}]'
    example = read("xlam", xlam(answers=answers))
    assert example.findings == (fault_of("level"),)
    assert read("xlam", xlam()).findings == ()
