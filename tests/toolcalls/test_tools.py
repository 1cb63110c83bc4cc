"""Descriptions of tools: nothing is lost between any two formats, nor on the way from and to the published data."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from llamafactory_ext.errors import CallParseError, DataError, OptionError
from llamafactory_ext.toolcalls import TOOL_FORMATS, Tool, parse_calls, read_tool, read_tools, write_tool
from toolcalls.call_strategies import tools
from toolcalls.public_tools import api_bank_records, lines, load, needs_public_data, public_tools

pytestmark = pytest.mark.fast

_OBJECT = {"type": "object", "properties": {"a": {"type": "string"}}}
RATE = Tool(
    "get_rate",
    "Returns a rate.",
    {
        "day": {"type": "string", "description": "The date."},
        "base": {"type": "string", "description": "The currency."},
        "pair": {"type": "array", "x-type": "tuple", "items": {"type": "number"}, "description": "Two\nlines."},
    },
    ["base"],
)
TABLE_13 = '''Function:
def random_advice():
    """
    Returns a random advice slip as a slip object.

    Args:
    """'''
TABLE_7 = '''Function:
def random_advice():
    """
    Returns a random advice slip as a slip object.

    Args:

    Returns:
    string: The feedback from the tool.
    """'''
ADVICE = Tool("random_advice", "Returns a random advice slip as a slip object.")


@settings(max_examples=120)
@given(tools())
def test_every_format_holds_every_tool(tool: Tool) -> None:
    for name in TOOL_FORMATS:
        assert read_tool(write_tool(tool, name), name) == tool, name


def test_the_papers_tables() -> None:
    """TL-Training, Tables 7, 10 and 13; Tables 6 and 8 write "required" beside the parameters."""
    assert write_tool(ADVICE, "python") == TABLE_13
    assert write_tool(ADVICE, "nexusraven") == TABLE_7
    assert read_tool(TABLE_13.removeprefix("Function:\n"), "python") == ADVICE
    function = {
        "name": "random_advice",
        "description": ADVICE.description,
        "parameters": {"type": "object", "properties": {}, "required": []},
    }
    assert write_tool(ADVICE, "openai") == {"type": "function", "function": function}
    table_6 = {**function, "parameters": {"type": "object", "properties": {}}, "required": []}
    tool = read_tool(table_6, "rotbench")
    assert (tool.parameters, tool.required) == ({}, ())
    assert write_tool(tool, "rotbench") == table_6


def test_a_signature_with_arguments() -> None:
    assert write_tool(RATE, "python") == (
        'Function:\ndef get_rate(base: string, day: string = None, pair: tuple = None):\n    """\n'
        "    Returns a rate.\n\n    Args:\n    base (string): The currency.\n    day (string): The date.\n"
        '    pair (tuple, {"items": {"type": "number"}}): Two\n        lines.\n    """'
    )


def test_types_are_translated_and_the_original_names_kept() -> None:
    function = {
        "name": "f",
        "description": "d",
        "parameters": {
            "type": "dict",
            "properties": {
                "x": {"type": "tuple", "items": {"type": "float"}},
                "y": {"type": "any"},
                "z": {"type": "dict"},
            },
            "required": ["x"],
        },
    }
    tool = read_tool(function, "bfcl")
    assert tool.parameters == {
        "x": {"type": "array", "x-type": "tuple", "items": {"type": "number"}},
        "y": {"x-type": "any"},
        "z": {"type": "object"},
    }
    assert write_tool(tool, "bfcl") == function


def test_openai_keeps_every_member() -> None:
    data = {
        "type": "function",
        "cache": 1,
        "function": {
            "name": "f",
            "strict": True,
            "parameters": {"properties": {"x": {"type": ["string", "null"]}}, "additionalProperties": False},
        },
    }
    tool = read_tool(data, "openai")
    assert (tool.description, tool.required) == ("", ())
    assert write_tool(tool, "openai") == data
    assert write_tool(read_tool({"type": "function", "function": {"name": "f"}}, "openai"), "openai") == {
        "type": "function",
        "function": {"name": "f"},
    }


def test_api_bank_requires_every_parameter() -> None:
    data = {
        "apiCode": "Find",
        "description": "d",
        "parameters": {"names": {"type": "list(str)", "description": ""}, "n": {"type": "int", "description": "x"}},
        "response": {"found": {"type": "Union[List[dict], dict]", "description": ""}},
    }
    tool = read_tool(data, "api_bank")
    assert tool.required == ("names", "n")
    assert tool.parameters["names"] == {"type": "array", "x-type": "list(str)", "description": ""}
    assert write_tool(tool, "api_bank") == data


def test_toolalpaca_documentation() -> None:
    text = 'get: Get it\nParameters: {"x": "Required. integer. ", "y": "string. Why."}\nOutput: OK.\n - Format: '
    tool = read_tool(text, "toolalpaca")
    assert (tool.name, tool.description, tool.required) == ("get", "Get it", ("x",))
    assert tool.parameters == {
        "x": {"type": "integer", "description": ""},
        "y": {"type": "string", "description": "Why."},
    }
    assert write_tool(tool, "toolalpaca") == text


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("openai", {"name": "f"}, '"type": "function"'),
        ("openai", "f", "must be a JSON object"),
        ("openai", {"type": "function", "function": {}}, "has no name"),
        ("rotbench", {"name": "f", "parameters": {"properties": {"x": 1}}}, "must be a JSON object"),
        ("rotbench", {"name": "f", "parameters": {"required": 1}}, "that is no list"),
        ("bfcl", {"name": "f", "description": 1}, "no text"),
        ("api_bank", {"name": "f"}, "lacks 'description'"),
        (
            "api_bank",
            {"apiCode": "f", "description": "", "parameters": {}, "required": "x"},
            "list of parameter names",
        ),
        ("toolalpaca", {}, "must be a text"),
        ("toolalpaca", "no name", "begins with"),
        ("toolalpaca", "f: d\nParameters: {x}", "malformed JSON"),
        ("toolalpaca", 'f: d\nParameters: {"x": 1}', "must be a JSON object"),
        ("python", 3, "must be a text"),
        ("python", "def f(): pass", "docstring"),
        ("python", 'def f():\n    """\n    d\n    """', 'no section "Args:"'),
        ("python", 'def f():\n    """\n    d\n\n    Args:\n    x is odd\n    """', "is no argument"),
        ("python", 'def f():\n    """\n    d\n\n    Args:\n    x (string\n    """', "must write 'x'"),
        ("python", 'def f():\n    """\n    d\n\n    Args:\n    x (string, {): y\n    """', "malformed JSON"),
        ("python", 'def f():\n    """\n    d\n\n    Args:\n    Extra: {x}\n    """', "malformed JSON"),
    ],
)
def test_what_describes_no_tool(name: str, data: Any, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read_tool(data, name)


def test_tools_that_a_format_cannot_hold_are_refused() -> None:
    with pytest.raises(DataError, match="without loss"):
        write_tool(Tool("two words"), "python")
    with pytest.raises(DataError, match="without loss"):
        write_tool(Tool("a: b"), "toolalpaca")
    with pytest.raises(OptionError, match="choose one of openai"):
        write_tool(ADVICE, "xml")
    with pytest.raises(OptionError, match="choose one of openai"):
        read_tool({}, "xml")


@needs_public_data
@pytest.mark.parametrize(("name", "count"), [("api_bank", 50), ("bfcl", 846), ("rotbench", 1507), ("toolalpaca", 40)])
def test_published_tools_survive_every_format(name: str, count: int) -> None:
    published = public_tools(name)
    assert len(published) == count
    for data in published:
        tool = read_tool(data, name)
        assert write_tool(tool, name) == data
        for other in TOOL_FORMATS:
            assert read_tool(write_tool(tool, other), other) == tool, other


@needs_public_data
def test_published_calls_are_read() -> None:
    requests = [record.get("expected_output") or record["output"] for record in api_bank_records()]
    # 41 have quotes inside quotes, two lack the brackets.
    assert len(requests) - len(_readable(requests, "api_bank")) == 43
    executable = [
        text
        for part in ("simple", "multiple", "parallel")
        for record in lines(f"bfcl_v3/BFCL_v3_exec_{part}.json")
        for text in record["ground_truth"]
    ]
    # One has the argument p=1/6.
    assert len(executable) - len(_readable(executable, "python")) == 1
    steps = [text for record in load("rotbench/First_Turn/clean.json") for text in record["conversations"][2]["value"]]
    assert len(steps) == len(_readable(steps, "react"))


def _readable(texts: list[str], name: str) -> list[str]:
    readable = []
    for text in texts:
        try:
            parse_calls(text, name)
        except CallParseError:
            continue
        readable.append(text)
    return readable


@pytest.mark.parametrize(
    "column",
    [
        [{"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}],
        [{"type": "function", "function": {"name": "f", "description": "d", "parameters": _OBJECT}}],
        [{"function": {"name": "f", "description": "d", "parameters": _OBJECT}}],
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": _OBJECT}, "strict": None},
        [{"name": "f", "description": "d", "parameters": _OBJECT, "strict": None}],
        [{"type": "function", "name": "f", "description": "d", "parameters": _OBJECT}],  # OpenAI's Responses API
        [{"name": "f", "description": "d", "input_schema": _OBJECT}],  # Anthropic
        [{"name": "f", "description": "d", "inputSchema": _OBJECT, "annotations": None}],  # MCP
        [{"name": "f", "description": "d", "parameters": {**_OBJECT, "required": None}}],
        [{"name": "f", "description": "d", "parameters": {**_OBJECT, "required": False}}],
        [
            {
                "type": "function",
                "function": {"name": "f", "description": "d", "parameters": {"properties": {"a": "string"}}},
            }
        ],
    ],
)
def test_a_tools_column_is_read_in_every_layout(column: Any) -> None:
    for written in (column, json.dumps(column), json.dumps(column, indent=1)):
        (tool,) = read_tools(written)
        assert (tool.name, tool.description, dict(tool.parameters)) == ("f", "d", {"a": {"type": "string"}})


def test_null_members_of_a_tool_are_left_out() -> None:
    (tool,) = read_tools([{"name": "f", "description": None, "parameters": None}])
    assert (tool.name, tool.description, dict(tool.parameters)) == ("f", "", {})
    (tool,) = read_tools([{"type": "function", "function": {"name": "f", "description": None, "parameters": None}}])
    assert (tool.name, dict(tool.parameters)) == ("f", {})


@pytest.mark.parametrize(
    "parameters",
    [None, [], {}, "", {"type": "object", "properties": None, "required": None}, {"type": "object", "properties": []}],
)
def test_a_tool_without_parameters_in_every_way(parameters: Any) -> None:
    bare = {"name": "f", "description": "d", "parameters": parameters}
    for column in ([bare], [{"type": "function", "function": bare}]):
        (tool,) = read_tools(column)
        assert (tool.name, dict(tool.parameters), tuple(tool.required)) == ("f", {}, ())


@pytest.mark.parametrize("parameters", [True, 3, "city", ["city"], {"properties": ["city"]}, {"required": "city"}])
def test_parameters_that_are_no_schema_are_refused(parameters: Any) -> None:
    with pytest.raises(DataError):
        read_tools([{"name": "f", "description": "d", "parameters": parameters}])
