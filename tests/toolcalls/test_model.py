"""Equality by JSON value, and what is no call or tool."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from llamafactory_ext.errors import DataError
from llamafactory_ext.toolcalls import Tool, ToolCall

pytestmark = pytest.mark.fast


def test_equality_is_that_of_json_values() -> None:
    one = ToolCall("f", {"x": 1, "y": [True, {"a": None}]})
    assert one == ToolCall("f", {"y": (True, {"a": None}), "x": 1.0})
    assert hash(one) == hash(ToolCall("f", {"y": [True, {"a": None}], "x": 1.0}))
    others = [
        {"x": True, "y": [True, {"a": None}]},
        {"x": 1, "y": [1, {"a": None}]},
        {"x": "1", "y": [True, {"a": None}]},
    ]
    others += [{"x": 1, "y": [{"a": None}, True]}, {"x": 1}, {"x": 1, "y": [True, {"a": None, "b": None}]}]
    assert len({one, *(ToolCall("f", arguments) for arguments in others)}) == 7
    assert one != ToolCall("g", one.arguments)
    assert ToolCall("f", {"x": []}) != ToolCall("f", {"x": {}})
    assert one != "f"


def test_tools_compare_likewise() -> None:
    tool = Tool("f", "d", {"x": {"type": "integer", "default": 1}}, ["x"], {"response": [1]})
    assert tool == Tool("f", "d", {"x": {"default": 1.0, "type": "integer"}}, ("x",), {"response": [1]})
    assert tool != Tool("f", "d", {"x": {"type": "integer", "default": True}}, ["x"], {"response": [1]})
    assert tool != Tool("f", "d", tool.parameters, [], tool.extra)
    assert len({tool, copy.deepcopy(tool)}) == 1


def test_later_changes_of_the_source_do_not_reach_a_call() -> None:
    arguments: dict[str, Any] = {"x": [1]}
    call = ToolCall("f", arguments)
    arguments["x"].append(2)
    assert call.arguments == {"x": [1]}
    assert pickle.loads(pickle.dumps(call)) == copy.deepcopy(call) == call


@pytest.mark.parametrize(
    ("name", "arguments", "problem"),
    [
        ("", {}, "has no name"),
        (3, {}, "has no name"),
        ("f\ud800", {}, "lone surrogates"),
        ("f", [1], "no JSON object"),
        ("f", {1: 2}, "no string"),
        ("f", {"x": float("nan")}, "JSON cannot write"),
        ("f", {"x": {1}}, "no JSON value"),
        ("f", {"x": b"1"}, "no JSON value"),
        ("f", {"\udc00": 1}, "lone surrogates"),
        ("f", {"x": 10**4000}, "more than 4,000 digits"),
        ("f", {"x": [0] * 50_001}, "more than 50000 values"),
    ],
)
def test_what_is_no_call(name: Any, arguments: Any, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        ToolCall(name, arguments)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"description": None}, "no text"),
        ({"parameters": {"x": "string"}}, "schema of 'x'"),
        ({"required": "x"}, "list of parameter names"),
        ({"required": [1]}, "list of parameter names"),
        ({"required": 1}, "list of parameter names"),
        ({"extra": [1]}, "no JSON object"),
    ],
)
def test_what_is_no_tool(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        Tool("f", **fields)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"a": 1, "b": "c", "d": None, "e": True, "f": 1.5},
        {"a": "\u00e9"},
        {"\u00e9": 1},
        {"a": 10**30},
        {"a": [1]},
        {"a": {"b": 1}},
        {str(number): number for number in range(1_000)},
    ],
)
def test_arguments_are_copied_whatever_they_hold(arguments: dict[str, Any]) -> None:
    call = ToolCall("f", arguments)
    assert call.arguments == arguments
    assert [type(value) for value in call.arguments.values()] == [type(value) for value in arguments.values()]
    before = dict(call.arguments)
    arguments["new"] = 1
    assert call.arguments == before


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), "\ud800", 10**4001, object(), {1: 2}, b"x"])
def test_arguments_that_json_cannot_hold_are_refused_beside_plain_ones(wrong: Any) -> None:
    with pytest.raises(DataError):
        ToolCall("f", {"a": 1, "b": wrong})
    with pytest.raises(DataError):
        ToolCall("f", {1: "a"})  # type: ignore[dict-item]
