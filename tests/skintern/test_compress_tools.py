"""Shorter documentation of tools: valid at every share, names of called tools to the end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llamafactory_ext.errors import DataError
from llamafactory_ext.skintern.compress import words_of
from llamafactory_ext.skintern.compress_tools import ToolDocuments, compress_tools, tool_name

pytestmark = pytest.mark.fast


def tool(name: str, text: str, required: list[str], **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "description": text, "parameters": parameters}}


CITY = {"type": "string", "description": "Name of the city, in English", "enum": ["Paris", "Rome"]}
DAYS = {"type": "integer", "description": "Number of days ahead", "default": 1}
PLACES = {"type": "array", "description": "Places", "items": {"type": "string", "description": "One place"}}
WEATHER = tool("get_weather", "Return the weather of a city today.", ["city"], city=CITY, days=DAYS)
FORECAST = tool("get_forecast", "Return the weather of many cities.", ["places"], places=PLACES)
MAIL = tool("send_mail", "Send a mail.", ["to"], to={"type": "string", "description": "Address of the person"})
TOOLS = [WEATHER, MAIL, FORECAST]
BARE = [one["function"] for one in TOOLS]
SHARES = tuple(percent / 100 for percent in range(100, -1, -1))


def count(tools: Any) -> int:
    return len(words_of(json.dumps(tools, ensure_ascii=False)))


@pytest.mark.parametrize("tools", [TOOLS, BARE, json.dumps(TOOLS)], ids=["openai", "bare", "text"])
@pytest.mark.parametrize("called", [["get_weather"], ["send_mail", "get_forecast"], []])
def test_every_share(tools: Any, called: list[str]) -> None:
    whole = json.loads(tools) if isinstance(tools, str) else tools
    found = ToolDocuments(tools, called).at(SHARES)
    assert found[0] == whole
    assert found[-1] == []
    least = count(found[-2])
    for share, left in zip(SHARES, found, strict=True):
        if share > 0:
            assert {tool_name(one) for one in left} >= set(called)
            assert count(left) <= max(share * count(whole), least)
        for one in left:
            parameters = one.get("function", one)["parameters"]
            assert set(parameters["required"]) <= set(parameters["properties"])
    sizes = [len(json.dumps(left)) for left in found]
    assert sizes == sorted(sizes, reverse=True)


def test_the_order_in_which_parts_leave() -> None:
    found = ToolDocuments(TOOLS, ["get_weather"]).at(SHARES)

    def last(part: str) -> int:
        return max(index for index, left in enumerate(found) if part in json.dumps(left))

    gone = [
        last(part)
        for part in ('"Address', '"Return', '"enum"', '"integer"', '"days"', '"city"', '"send_mail"', '"get_forecast"')
    ]
    assert gone == sorted(gone)
    assert last('"get_weather"') == len(SHARES) - 2


def test_the_steps_may_be_built_one_by_one() -> None:
    documents = ToolDocuments(TOOLS, ["get_weather"])
    shares = (1.0, 0.7, 0.4, 0.1, 0.0)
    assert documents.at(shares) == [compress_tools(TOOLS, share, ["get_weather"]) for share in shares]
    assert documents.tools == TOOLS  # nothing of the record is changed


def test_tokens_may_be_counted_by_a_tokenizer() -> None:
    left = compress_tools(TOOLS, 0.5, ["get_weather"], count=len)
    assert len(json.dumps(left)) <= 0.5 * len(json.dumps(TOOLS))


@pytest.mark.parametrize("tools", ["", "{", "{}", '"text"', "[1]", "[{}]", '[{"name": 3}]', [None], "[" * 10_000])
def test_what_is_no_list_of_tools(tools: Any) -> None:
    with pytest.raises(DataError, match="tools"):
        compress_tools(tools, 0.5)


def test_odd_tools_are_shortened_too() -> None:
    odd = [
        {"name": "no_parameters"},
        {
            "name": "nested",
            "parameters": {"properties": {"a": {"properties": {"b": {"type": "x"}}, "required": ["b"]}}},
        },
        {"name": "strange", "description": "", "parameters": {"properties": [], "required": "a", "x": None}},
        {"name": "any", "parameters": {"properties": {"a": True, "required": {"type": "string"}}}},
    ]
    for share, left in zip(SHARES, ToolDocuments(odd, ["nested"]).at(SHARES), strict=True):
        assert share == 0 or "nested" in {tool_name(one) for one in left}
