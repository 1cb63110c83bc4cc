"""What tl_sft makes of an example: calls in any form, errors by the feedback that follows, what cannot be used."""

import json
from typing import Any

import pytest

from llamafactory_ext.tl.sft.examples import (
    ADVICE,
    NO_FEEDBACK,
    NO_TOOLS,
    NOT_PARSED,
    NOT_RENDERED,
    UNREADABLE,
    Settings,
    judge_example,
)
from llamafactory_ext.toolcalls import FORMATS, Tool, ToolCall, render_calls

pytestmark = pytest.mark.fast

NAMES = {"get_weather", "find_city"}
TOOLS = tuple(map(Tool, sorted(NAMES)))
ERROR = '{"error": "There is no tool named get_sun."}'
CALL = ToolCall("get_weather", {"city": "Paris"})


def turns(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in pairs]


def as_json(*names: str) -> str:
    return json.dumps([{"name": name, "arguments": {"city": "Paris"}} for name in names])


def test_erroneous_calls_are_found_by_their_feedback_and_corrections_are_not() -> None:
    judged = judge_example(
        turns(
            ("user", "Weather?"),
            ("function", as_json("get_sun")),
            ("observation", '{"error": "Response error."}'),
            ("function", as_json("get_weather")),
            ("observation", "get_weather() missing 1 required positional argument: 'day'"),
            ("function", as_json("get_weather", "find_city")),
            ("observation", '{"degrees": 21}'),
            ("assistant", "It is an error of 21 degrees."),
        ),
        TOOLS,
        Settings(),
    )
    assert judged.problem is None
    assert judged.errors == {1: "Tool Hallucination", 3: "Parameter Missing"}
    assert {place: [call.name for call in calls] for place, calls in judged.calls.items()} == {
        1: ["get_sun"],
        3: ["get_weather"],
        5: ["get_weather", "find_city"],
    }
    assert judged.names == NAMES | {"get_sun"}


def test_the_reference_rule_and_no_rule() -> None:
    messages = turns(("user", "?"), ("function", as_json("get_weather")), ("observation", "The margin of error is 2."))
    messages += turns(("assistant", "Two."))
    assert judge_example(messages, TOOLS, Settings()).errors == {}
    assert judge_example(messages, TOOLS, Settings(feedback_rules="reference")).errors == {1: "Uncategorised"}
    assert judge_example(messages, TOOLS, Settings(feedback_rules="reference", use_mae=False)).errors == {}


def test_one_of_several_results_decides() -> None:
    results = "\n</tool_response>\n<tool_response>\n".join(('{"degrees": 21}', '{"error": "Response error."}'))
    messages = turns(("user", "?"), ("function", as_json("get_weather", "find_city")), ("observation", results))
    assert judge_example([*messages, *turns(("assistant", "!"))], TOOLS, Settings()).errors == {1: "Tool Call Failure"}


@pytest.mark.parametrize("form", FORMATS)
def test_calls_in_the_text_of_an_assistant(form: str) -> None:
    text = render_calls([CALL], form)
    answered = turns(("user", "?"), ("assistant", text), ("observation", ERROR), ("assistant", "No."))
    for call_format in ("auto", form):
        judged = judge_example(answered, TOOLS, Settings(call_format=call_format))
        assert [call.name for call in judged.calls[1]] == ["get_weather"]
        assert list(judged.errors) == [1]
        alone = judge_example(turns(("user", "?"), ("assistant", text)), TOOLS, Settings(call_format=call_format))
        assert (list(alone.calls), alone.problem) == ([1], NO_FEEDBACK)


def test_tools_that_stand_in_the_prompt() -> None:
    """As in API-Bank's records, whose data sets have no column of tools."""
    tools = [
        {"apiCode": name, "description": "A tool.", "parameters": {"city": {"type": "str"}}}
        for name in ("GetWeather", "FindCity")
    ]
    prompt = "API descriptions:\n" + "\n".join(map(json.dumps, tools)) + "\nUser: Weather?"
    answer = ("assistant", "API-Request: [GetWeather(city='Paris')]")
    settings = Settings(use_mae=False)
    judged = judge_example(turns(("user", prompt), answer), (), settings)
    assert (judged.problem, [call.name for call in judged.calls[1]]) == (None, ["GetWeather"])
    assert judged.names == {"GetWeather", "FindCity"}
    assert judge_example(turns(("user", "Weather?"), answer), (), settings, prompt).names == judged.names
    assert judge_example(turns(("user", prompt), answer), [Tool("Other")], settings).calls == {}


def test_code_in_an_answer_is_no_call() -> None:
    messages = turns(("user", "How?"), ("assistant", 'Write print("x"), or find(1).'))
    assert judge_example(messages, TOOLS, Settings()).calls == {}
    assert judge_example(messages, (), Settings()).problem is None


@pytest.mark.parametrize(
    ("messages", "declared", "settings", "problem"),
    [
        (turns(("user", "?"), ("function", as_json("get_weather"))), TOOLS, {}, NO_FEEDBACK),
        (turns(("user", "?"), ("function", as_json("get_weather"))), TOOLS, {"use_mae": False}, None),
        (turns(("user", "?"), ("function", '{"name": '), ("observation", "{}")), TOOLS, {}, NOT_PARSED),
        (turns(("user", "?"), ("assistant", "I call."), ("observation", "{}")), TOOLS, {}, NOT_PARSED),
        (
            turns(("user", "?"), ("assistant", "I call."), ("observation", "{}")),
            TOOLS,
            {"call_format": "qwen"},
            NOT_PARSED,
        ),
        (turns(("user", "?"), ("function", as_json("a")), ("observation", "{}")), (), {}, NO_TOOLS),
        (turns(("user", "?"), ("function", as_json("a")), ("observation", "{}")), None, {}, NO_TOOLS),
        (turns(("user", "?"), ("assistant", "Hello.")), None, {}, None),
    ],
)
def test_what_cannot_be_used(
    messages: list[dict[str, str]], declared: tuple[Tool, ...] | None, settings: dict[str, Any], problem: str | None
) -> None:
    assert judge_example(messages, declared, Settings(**settings)).problem == problem


def test_every_problem_comes_with_advice() -> None:
    assert set(ADVICE) == {NO_FEEDBACK, NOT_PARSED, NO_TOOLS, NOT_RENDERED, UNREADABLE}
