"""Feedback that reports an error, by category, feedback that only talks of errors, and the released rule."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_ext.errors import OptionError
from llamafactory_ext.toolcalls.feedback.errors import CATEGORIES, RULES, UNCATEGORISED, feedback_error

pytestmark = pytest.mark.fast

_REASON = "The function cannot be executed successfully with the given parameters for the reason: "


ERRORS = {
    "Tool Instability": [
        "HTTP 404 not found",
        "404 Not Found",
        "HTTP/1.1 500 Internal Server Error",
        "HTTP Error 403: Forbidden",
        "Request failed with status code 429",
        "Status Code: 404. Response: {}",
        "<html><head><title>502 Bad Gateway</title></head></html>",
        "requests.exceptions.ConnectionError: no route",
        "ReadTimeout: read timed out",
        "('Connection aborted.', RemoteDisconnected('Remote end closed connection without response'))",
        "Rate limit exceeded",
        "Error: 404",
        '{"status": 503, "detail": "x"}',
        '{"cod": "404", "message": "city not found"}',
        '{"message": "You are not subscribed to this API."}',
        '{"Error Message": "Invalid API call. Please retry."}',
        '{"error": {"code": 500, "message": "x"}}',
        "{'error': {'code': 500, 'message': 'x'}}",
        '{"error": true, "message": "Internal error"}',
    ],
    "Tool Call Failure": [
        "KeyError: 'city'",
        "'related_searches'",
        'Traceback (most recent call last):\n  File "x", line 1\nValueError: bad',
        "Object of type SerpResults is not JSON serializable",
        "slice indices must be integers or None or have an __index__ method",
        "{'error': 'Response error.'}",
        '[{"error": "Response error."}]',
        '{"error": "", "response": "{\'error\': \'Response error.\'}"}',
        _REASON + "'related_searches'",
        "Failed to fetch data",
    ],
    "Tool Hallucination": [
        "name 'get_weather' is not defined",
        "get_weather is not a valid tool, try one of [a, b].",
        "Tool 'get_weather' not found",
        '{"error": "Unknown function: get_weather"}',
    ],
    "Parameter Hallucination": [
        "TypeError: f() got an unexpected keyword argument 'x'",
        "f() takes 1 positional argument but 2 were given",
        '{"error": "Unknown parameter: unit"}',
        "ValidationError: Additional properties are not allowed ('x' was unexpected)",
    ],
    "Parameter Missing": [
        "TypeError: f() missing 2 required positional arguments: 'a' and 'b'",
        "Missing required parameter: city",
        "Parameter 'unit' is required",
        '{"errors": ["\'city\' is a required property"]}',
        '{"status": "error", "message": "The argument city is missing"}',
    ],
    "Others": [
        "Error: something broke",
        "An error occurred while looking",
        '{"success": false, "message": "nope"}',
        '{"api_name": "X", "input": {}, "output": null, "exception": "User not found"}',
        '{"error": "recent-scan-not-found", "text": "Recently comp',
    ],
}


@pytest.mark.parametrize(("category", "feedback"), [(kind, text) for kind, texts in ERRORS.items() for text in texts])
def test_errors_have_their_category(category: str, feedback: str) -> None:
    assert feedback_error(feedback) == category
    assert feedback_error(f"\n {feedback} \n") == category


RESULTS = [
    "The margin of error is 3%.",
    "margin of error",
    "error-free",
    "Our service has been error-free since 2019.",
    "Error-free operation",
    "Error: 0.03",
    "Standard error: 0.03",
    "Mean squared error: 0.12",
    "Error analysis is a branch of linguistics.",
    "The TypeError class is raised when an argument is of the wrong type.",
    "HTTP 404 is the status code of missing pages.",
    "404 people attended",
    "404",
    "No errors found.",
    "No results found.",
    "Trial and error is a method.",
    '{"results": [{"title": "How to fix error 404"}, {"title": "KeyError: what it means"}]}',
    '{"title": "Error", "year": 2020}',
    '{"word": "error", "definition": "a mistake"}',
    '{"margin_of_error": "3%", "poll": 51}',
    '{"error": null, "data": [1]}',
    "{'error': None, 'data': [1]}",
    '{"error": "", "response": "done"}',
    '{"error": 0.05, "mean": 3.2}',
    '{"error": "0.05 %"}',
    '{"errors": [], "data": 1}',
    '{"error_code": 0, "result": "done"}',
    '{"error": {}}',
    '{"status": "success", "message": "KeyError: x is raised when a key is missing"}',
    '{"status": 200, "message": "Not an error"}',
    '{"code": 404, "country": "Kenya"}',
    '{"order": 5, "status": "failed", "reason": "card", "date": "today"}',
    '[{"error": "Response error."}, {"temperature": 3}]',
    '{"api_name": "X", "input": {}, "output": "success", "exception": null}',
    '{"content": "How to handle errors',
    "[1, 2",
    "",
    "null",
]


@pytest.mark.parametrize("feedback", RESULTS)
def test_results_that_talk_about_errors_are_results(feedback: str) -> None:
    assert feedback_error(feedback) is None


@pytest.mark.parametrize(
    "feedback", ["margin of error", "Our service is error-free.", '{"word": "error"}', "{'error': 0}"]
)
def test_the_released_rule_takes_these_for_errors(feedback: str) -> None:
    assert feedback_error(feedback, "reference") == UNCATEGORISED
    assert feedback_error(feedback) is None


@pytest.mark.parametrize(
    "feedback", ["HTTP 404 not found", "Tool 'x' not found", "Rate limit exceeded", "Missing required parameter: city"]
)
def test_the_released_rule_misses_these(feedback: str) -> None:
    assert feedback_error(feedback, "reference") is None
    assert feedback_error(feedback) in CATEGORIES


@pytest.mark.parametrize(
    ("feedback", "category"),
    [
        ("This is Not  Supported!", UNCATEGORISED),
        ("related-searches: none", UNCATEGORISED),
        ("positional 'argument'", UNCATEGORISED),
        ("Invalid API Call", UNCATEGORISED),
        ("e-r-r-o-r", UNCATEGORISED),
        ("err^or", None),  # the released rule keeps carets
        ("err错or", None),  # and Chinese characters
    ],
)
def test_the_released_rule_drops_what_is_no_letter_or_digit(feedback: str, category: str | None) -> None:
    assert feedback_error(feedback, "reference") == category


def test_unknown_rules_are_refused() -> None:
    with pytest.raises(OptionError, match="structured, reference"):
        feedback_error("x", "strict")


@given(st.text(alphabet=st.sampled_from("{}[]()\"'“”\\:, errorcdexptinE4 0\n"), max_size=80))
def test_any_text_is_judged(text: str) -> None:
    for rules in RULES:
        assert feedback_error(text, rules) in (None, UNCATEGORISED, *CATEGORIES)


@pytest.mark.parametrize(
    "text",
    ['{"a":' * 20_000, "{'error': " * 20_000, "[" * 20_000, '"' * 20_000, "a." * 20_000, "{'response': \"" * 9_000],
)
def test_hostile_text_is_judged(text: str) -> None:
    assert feedback_error(text) in (None, *CATEGORIES)


_SHARED = Path(os.environ.get("LLAMAFACTORY_EXT_SHARED", Path(__file__).resolve().parents[4] / "shared")) / "data"


@pytest.mark.skipif(not (_SHARED / "api_bank").is_dir(), reason="the published API-Bank dialogues are absent")
def test_successful_calls_of_api_bank_are_no_errors() -> None:
    results = [
        record["result"]
        for path in sorted((_SHARED / "api_bank/lv1-lv2-samples").rglob("*.jsonl"))
        for record in map(json.loads, filter(None, path.read_text(encoding="utf-8").split("\n")))
        if record["role"] == "API"
    ]
    assert len(results) == 508
    assert all(result["exception"] is None for result in results)
    assert [result for result in results if feedback_error(json.dumps(result)) or feedback_error(str(result))] == []
    # Where the released rule sees errors, for comparison.
    assert sum(feedback_error(json.dumps(result), "reference") is not None for result in results) == 6
