"""Which calls of a trajectory are judged errors, with the rows of the paper's Table 14."""

from __future__ import annotations

import json

import pytest

from llamafactory_ext.errors import DataError
from llamafactory_ext.tl.feedback import feedback_error, judge_calls
from llamafactory_ext.toolcalls.feedback.errors import UNCATEGORISED

pytestmark = pytest.mark.fast

_REASON = "The function cannot be executed successfully with the given parameters for the reason: "


_FAILED = '{"error": "Response error."}'


# (category, call in JSON, feedback), row by row.
TABLE_14 = [
    (None, ("random_advice", {}), '{"slip": {"id": 52, "advice": "Don\'t promise what you can\'t deliver."}}'),
    (
        "Tool Instability",
        ("get_cryptocurrency_categories", {"apikey": "your_api_key_here"}),
        "HTTPSConnectionPool(host=..., port=443): Max retries exceeded with url: ...",
    ),
    (
        "Tool Instability",
        ("get_exchange_rate", {"from_currency": "EUR", "to_currency": "GBP"}),
        "Invalid API call. Currency codes might be invalid.",
    ),
    (
        "Tool Instability",
        ("google_trends_search", {"query": "school", "data_type": "related_topics"}),
        f"{_REASON}400 Client Error: Bad Request for url: ...",
    ),
    ("Tool Instability", ("search_word", {"api_key": "", "letterPattern": "a*b*c"}), '{"error": "connection error."}'),
    ("Tool Call Failure", ("search_country", {"query": "IN", "key": "code"}), _FAILED),
    ("Tool Call Failure", ("google_trends_search", {"query": "Bitcoin", "limit": "5"}), _FAILED),
    ("Tool Call Failure", ("get_nobel_results", {"year": "2018"}), _FAILED),
    ("Tool Call Failure", ("lodgingProducts", {"destination": "Seattle", "exhibit_maxnum": "3"}), _FAILED),
    ("Tool Hallucination", ("google_search", {"query": "most popular tourist destinations in Europe"}), _FAILED),
    (
        "Parameter Hallucination",
        ("get_news_headlines", {"q": "technology", "sortBy": "popularity"}),
        f"{_REASON}get_news_headlines() got an unexpected keyword argument 'sortBy'",
    ),
    (
        "Parameter Missing",
        ("forecast", {"q": "London", "days": "7"}),
        "forecast missing 1 required positional argument: aqi",
    ),
    (
        "Others",
        ("analyze_scan", {"website": "www.mywebsite.com"}),
        '{"error": "recent-scan-not-found", "text": "Recently completed scan for www.mywebsite.com not found"}',
    ),
]


_DECLARED = {name for category, (name, _), _ in TABLE_14 if category != "Tool Hallucination"}


@pytest.mark.parametrize(("category", "call", "feedback"), TABLE_14)
def test_rows_of_table_14(category: str | None, call: tuple[str, dict[str, str]], feedback: str) -> None:
    value = json.dumps({"name": call[0], "arguments": call[1]})
    messages = [
        {"from": "human", "value": "Question"},
        {"from": "function_call", "value": value},
        {"from": "observation", "value": feedback},
        {"from": "gpt", "value": "Answer"},
    ]
    assert judge_calls(messages, declared=_DECLARED) == [(1, category)]
    by_text = "Tool Call Failure" if category == "Tool Hallucination" else category
    assert feedback_error(feedback) == by_text
    assert feedback_error(feedback.replace('"', "”")) == by_text  # the quotes of the printed table


def _released(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in turns]


def test_the_call_that_corrects_an_error_is_no_error() -> None:
    messages = _released(
        ("system", "[]"),
        ("user", "Weather in Paris?"),
        ("assistant", 'weather\n{"town": "Paris"}'),
        ("function", "weather() got an unexpected keyword argument 'town'"),
        ("assistant", 'weather\n{"city": "Paris"}'),
        ("function", '{"sky": "clear"}'),
        ("assistant", "It is clear."),
    )
    assert judge_calls(messages) == [(2, "Parameter Hallucination"), (4, None)]
    assert judge_calls(messages, "reference") == [(2, UNCATEGORISED), (4, None)]


def test_all_feedback_of_a_turn_counts() -> None:
    messages = _released(
        ("user", "Both?"),
        ("assistant", "a()\nb()"),
        ("tool", '{"sky": "clear"}'),
        ("tool", "KeyError: 'x'"),
        ("tool", "404 Not Found"),
        ("assistant", "No."),
    )
    assert judge_calls(messages) == [(1, "Tool Call Failure")]


def test_calls_without_feedback_are_no_errors() -> None:
    sharegpt = [{"from": "human", "value": "q"}, {"from": "function_call", "value": '{"name": "f", "arguments": {}}'}]
    assert judge_calls(sharegpt) == [(1, None)]
    assert judge_calls(_released(("user", "q"), ("assistant", "Error: no."))) == []
    assert judge_calls([]) == []


def test_undeclared_tools_matter_only_where_there_is_an_error() -> None:
    fine = _released(("assistant", "f\n{}"), ("function", "3"))
    wrong = _released(("assistant", "f\n{}"), ("function", "KeyError: 'x'"))
    unreadable = _released(("assistant", "f("), ("function", "KeyError: 'x'"))
    assert judge_calls(fine, declared=["g"], call_format="glm4") == [(0, None)]
    assert judge_calls(wrong, declared=["g"], call_format="glm4") == [(0, "Tool Hallucination")]
    assert judge_calls(wrong, declared=["f"], call_format="glm4") == [(0, "Tool Call Failure")]
    assert judge_calls(wrong, "reference", declared=["g"], call_format="glm4") == [(0, UNCATEGORISED)]
    assert judge_calls(unreadable, declared=["g"], call_format="glm4") == [(0, "Tool Call Failure")]


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([{"value": "x"}], "Turn 1 has no role"),
        ([{"role": "assistant", "content": "f()"}, {"role": "tool", "content": None}], "Turn 2 has no text"),
    ],
)
def test_malformed_turns_are_told(messages: list[dict[str, str]], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        judge_calls(messages)
