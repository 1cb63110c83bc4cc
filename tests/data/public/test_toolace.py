"""ToolACE: calls with any name and value, words beside them, tools anywhere in the system text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from data.published import read, said
from data.samples import toolace
from llamafactory_ext.data.family import Drop
from llamafactory_ext.data.public import toolace as toolace_module
from llamafactory_ext.data.public import turns

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("[Set Lamp(level=3)]", [("Set Lamp", {"level": 3})]),
        ("[home/lamps.List All()]", [("home/lamps.List All", {})]),
        (
            "[ home/lamps.List All( ), Set Lamp (level = 3) ]",
            [("home/lamps.List All", {}), ("Set Lamp", {"level": 3})],
        ),
        (
            """[Set Lamp(a='it\\'s', b="[x(y=1)], ", c=[1, -2.5, {'k': None}], d={"t": true, "n": null}, e=True)]""",
            [
                (
                    "Set Lamp",
                    {
                        "a": "it's",
                        "b": "[x(y=1)], ",
                        "c": [1, -2.5, {"k": None}],
                        "d": {"t": True, "n": None},
                        "e": True,
                    },
                )
            ],
        ),
        (
            "[Set Lamp(level-of light=3, $filter='a', from=1)]",
            [("Set Lamp", {"level-of light": 3, "$filter": "a", "from": 1})],
        ),
        ('[Set Lamp(level="3"),\nSet Lamp(level=3.0)]', [("Set Lamp", {"level": "3"}), ("Set Lamp", {"level": 3.0})]),
        ("[Set Lamp(level=3)], [home/lamps.List All()]", [("Set Lamp", {"level": 3}), ("home/lamps.List All", {})]),
        ("Set Lamp(level=3)", [("Set Lamp", {"level": 3})]),
        ('[{"name": "Set Lamp", "arguments": {"level": 3}}]', [("Set Lamp", {"level": 3})]),
        (
            '[Set Lamp(text="<tool_call>{}</tool_call> </think>")]',
            [("Set Lamp", {"text": "<tool_call>{}</tool_call> </think>"})],
        ),
    ],
)
def test_toolace_calls_are_read_as_they_are_written(text: str, calls: Any) -> None:
    example = read("toolace", toolace(("user", "Dim."), ("assistant", text)))
    assert said(example)[1] == ("function_call", ("", calls))
    assert example.findings == ()


def test_toolace_names_with_parentheses_are_found_by_their_declaration() -> None:
    tools = [{"name": "Lamp (v2)", "description": "", "parameters": {"type": "dict", "properties": {}}}]
    example = read("toolace", toolace(("user", "Dim."), ("assistant", "[Lamp (v2)(on=True)]"), tools=tools))
    assert said(example)[1] == ("function_call", ("", [("Lamp (v2)", {"on": True})]))


@pytest.mark.parametrize(
    "text",
    [
        "Which level do you mean?",
        "[Note] The lamp (in the hall) is off.",
        "Set Lamp (the tool) needs a level.",
        "[Set Lamp] needs a level.",
        '{"name": "Bob", "age": 3}',
        "[1, 2]",
    ],
)
def test_toolace_answers_and_questions_back_stay_words(text: str) -> None:
    example = read("toolace", toolace(("user", "Dim."), ("assistant", text)))
    assert said(example)[1] == ("gpt", text)
    assert example.findings == ()


def test_toolace_words_around_a_call() -> None:
    before = read("toolace", toolace(("user", "Dim."), ("assistant", "Gladly.\n[Set Lamp(level=3)]")))
    assert said(before)[1] == ("function_call", ("Gladly.", [("Set Lamp", {"level": 3})]))
    quoted = read(
        "toolace", toolace(("user", "Dim."), ("assistant", "I would say [Set Lamp(level=3)] if I were you."))
    )
    assert (said(quoted)[1][0], quoted.findings) == ("gpt", (toolace_module.QUOTED,))


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ('[{"a": 1.10}, "on",  [2]]', ['{"a": 1.10}', "on", "[2]"]),
        ('[{"a": 1}]', ['[{"a": 1}]']),
        ("not JSON", ["not JSON"]),
        ('{"a": 1}', ['{"a": 1}']),
    ],
)
def test_toolace_results_are_told_apart_where_there_is_one_for_each_call(result: str, expected: list[str]) -> None:
    call = "[Set Lamp(level=1), Set Lamp(level=2), Set Lamp(level=3)]"
    example = read("toolace", toolace(("user", "x"), ("assistant", call), ("tool", result), ("assistant", "y")))
    assert said(example)[2] == ("observation", expected)
    assert example.findings == (() if len(expected) == 3 else (turns.RESULTS_DIFFER,))


@pytest.mark.parametrize("form", ["end", "within", "python", "first message", "other roles"])
def test_toolace_tools_stand_anywhere_in_the_system_text(form: str) -> None:
    record = toolace(("user", "Dim."), ("assistant", "[Set Lamp(level=3)]"))
    expected = read("toolace", record)
    start, end = record["system"].index("[{"), record["system"].index("}]") + 2
    listed = record["system"][start:end]
    if form == "end":
        record["system"] = record["system"][:start] + listed
    elif form == "python":
        record["system"] = record["system"].replace(listed, repr(json.loads(listed)))
    elif form == "first message":
        record["conversations"].insert(0, {"from": "system", "value": record.pop("system")})
    elif form == "other roles":
        roles = {"user": "human", "assistant": "gpt"}
        record["conversations"] = [{"role": roles[m["from"]], "content": m["value"]} for m in record["conversations"]]
    assert read("toolace", record) == expected
    assert expected.columns["system"].endswith("Today is Monday.")
    level = json.loads(expected.columns["tools"])[0]["parameters"]["properties"]["level"]
    assert level == {"type": "integer", "description": "From 0 to 9."}


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("[Set Lamp(3)]", {"level": 3}),
        ('[Set Lamp("3", room="hall")]', {"level": "3", "room": "hall"}),
        ("[Set Lamp([1, 2], {'a': None})]", {"level": [1, 2], "room": {"a": None}}),
        ("Set Lamp(3)", {"level": 3}),
    ],
)
def test_arguments_by_position_get_the_declared_names(text: str, arguments: Any) -> None:
    properties = {"level": {"type": "int"}, "room": {"type": "string"}}
    tool = {"name": "Set Lamp", "description": "d", "parameters": {"type": "dict", "properties": properties}}
    record = toolace(("user", "Dim."), ("assistant", text))
    record["system"] = f"You compose functions.\n{json.dumps([tool])}"
    example = read("toolace", record)
    assert said(example)[1] == ("function_call", ("", [("Set Lamp", arguments)]))
    assert example.findings == (toolace_module.BY_POSITION,)


@pytest.mark.parametrize(
    "text",
    ["[Set Lamp(3, 4, 5)]", "[Set Lamp(room='hall', 3)]", "[Set Lamp(3, level=4)]", "[Unknown(3)]", "[Unknown('x')]"],
)
def test_arguments_by_position_without_a_place_drop_the_record(text: str) -> None:
    properties = {"level": {"type": "int"}, "room": {"type": "string"}}
    tool = {"name": "Set Lamp", "description": "d", "parameters": {"type": "dict", "properties": properties}}
    record = toolace(("user", "Dim."), ("assistant", text))
    record["system"] = f"You compose functions.\n{json.dumps([tool])}"
    dropped = toolace_module.FAMILY.read(record)
    assert isinstance(dropped, Drop)
    assert dropped.reason == "a call does not parse: [Name(key=value, ...)] is expected"


@pytest.mark.parametrize("text", ["[Unknown Tool(level=3]", "[Unknown Tool(level=3", "[Unknown Tool(level=x)]"])
def test_a_malformed_call_of_an_undeclared_tool_is_no_answer(text: str) -> None:
    dropped = toolace_module.FAMILY.read(toolace(("user", "Dim."), ("assistant", text)))
    assert isinstance(dropped, Drop)


@pytest.mark.parametrize("text", ["[Source (2020)] says so.", "[1, 2, 3]", "[x] done", "[f(x)] is a group."])
def test_brackets_without_a_call_are_an_answer(text: str) -> None:
    example = read("toolace", toolace(("user", "Dim."), ("assistant", text)))
    assert said(example)[1] == ("gpt", text)
    assert example.findings == ()
