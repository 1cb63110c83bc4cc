"""How often the structured rules are wrong over two tables of texts, and what surrounds a text changes nothing."""

from __future__ import annotations

import json
import time
from types import ModuleType

import pytest

from llamafactory_ext.toolcalls.feedback.errors import CATEGORIES, feedback_error
from toolcalls.feedback import texts_first, texts_fourth, texts_second, texts_third

pytestmark = pytest.mark.fast

_MOST_FALSE_ALARMS, _MOST_MISSES = 0.02, 0.05


@pytest.mark.parametrize("table", [texts_first, texts_second, texts_third, texts_fourth])
def test_rates_over_a_table(table: ModuleType) -> None:
    missed = [text for text in table.ERRORS if feedback_error(text) is None]
    alarms = [text for text in table.RESULTS if feedback_error(text) is not None]
    misses, false_alarms = len(missed) / len(table.ERRORS), len(alarms) / len(table.RESULTS)
    print(f"{table.__name__}: misses {misses:.1%}, false alarms {false_alarms:.1%}")
    assert false_alarms <= _MOST_FALSE_ALARMS, alarms
    assert misses <= _MOST_MISSES, missed


def test_the_tables_are_large_and_of_many_languages() -> None:
    assert len(texts_first.ERRORS) + len(texts_first.RESULTS) >= 150
    assert min(len(texts_first.ERRORS), len(texts_first.RESULTS)) >= 70
    assert len(texts_second.ERRORS) + len(texts_second.RESULTS) >= 60
    assert min(len(texts_first.LANGUAGES), len(texts_second.LANGUAGES)) >= 11
    tables = (texts_first, texts_second, texts_third, texts_fourth)
    every = [text for table in tables for text in (*table.ERRORS, *table.RESULTS)]
    assert len(set(every)) == len(every)


_WRAPPED = {
    "fence": "```json\n{}\n```",
    "bare fence": "```\n{}\n```",
    "tag": "<tool_response>\n{}\n</tool_response>",
    "result": "<result>{}</result>",
    "left open": "<tool_response>\n{}",
    "left closed": "{}\n</tool_response>",
    "introduced": "Tool output: {}",
    "said": "Here is the result:\n```json\n{}\n```",
}
_INNER = {
    '{"error": "no such playlist"}': "Others",
    '{"success": "false"}': "Others",
    '{"status": 503}': "Tool Instability",
    '{"detail": [{"loc": ["body", "name"], "msg": "Field required", "type": "missing"}]}': "Parameter Missing",
    '{"error": null, "rows": 3}': None,
    '{"rows": 3}': None,
    '{"isError": false, "content": [{"type": "text", "text": "3 rows"}]}': None,
}


@pytest.mark.parametrize("wrapper", _WRAPPED.values(), ids=_WRAPPED)
@pytest.mark.parametrize(("inner", "category"), _INNER.items())
def test_what_surrounds_an_output_changes_nothing(wrapper: str, inner: str, category: str | None) -> None:
    assert feedback_error(wrapper.replace("{}", inner)) == category


@pytest.mark.parametrize(("inner", "category"), _INNER.items())
def test_text_parts_and_quotes_change_nothing(inner: str, category: str | None) -> None:
    parts = [{"type": "text", "text": inner}]
    for value in (
        parts,
        {"content": parts},
        {"content": parts, "isError": False},
        {"result": {"content": parts}},
        inner,
    ):
        assert feedback_error(json.dumps(value)) == category


@pytest.mark.parametrize("key", ["success", "ok", "Success", "isSuccess", "successful"])
@pytest.mark.parametrize("value", [False, "false", "False", 0, "0", True, "true", 1, "yes", None])
def test_flags_of_success(key: str, value: object) -> None:
    refused = value in (False, "false", "False", "0")  # 0 equals False
    assert (feedback_error(json.dumps({key: value})) is not None) == refused
    assert (feedback_error(json.dumps({key: value, "data": {"id": 4}})) is not None) == refused


@pytest.mark.parametrize("key", ["exit_code", "returncode", "exitCode", "exit-code", "returnCode"])
@pytest.mark.parametrize("value", [0, "0", None, 1, 2, 127, -9, "1"])
def test_exit_codes_decide_and_stderr_alone_does_not(key: str, value: object) -> None:
    report = {key: value, "stdout": "built", "stderr": "warning: error.c: unused variable"}
    assert (feedback_error(json.dumps(report)) is not None) == (value not in (0, "0", None))


@pytest.mark.parametrize("key", ["error", "errors", "err", "error_message", "errorMessage", "exception", "Error"])
@pytest.mark.parametrize(
    "value", [None, "", [], {}, "null", "None", [None], {"message": None}, {"code": 0, "message": ""}]
)
def test_empty_error_fields_are_no_errors(key: str, value: object) -> None:
    assert feedback_error(json.dumps({key: value})) is None
    assert feedback_error(json.dumps({key: value, "message": "done", "rows": [1]})) is None


@pytest.mark.parametrize("status", [400, 401, 404, 422, 429, 500, 503, 200, 201, 204, 302])
@pytest.mark.parametrize("key", ["status", "statusCode", "status_code", "http_status"])
def test_http_statuses_as_numbers_and_as_text(key: str, status: int) -> None:
    for value in (status, str(status)):
        assert (feedback_error(json.dumps({key: value, "body": "x"})) is not None) == (status >= 400)


def test_counts_of_errors_are_results() -> None:
    for text in (
        "errors: 0",
        "Errors: none",
        "Fehler: 0",
        "错误数：0",
        '{"errors": 0}',
        '{"errors": 4, "message": "linted"}',
    ):
        assert feedback_error(text) is None
    assert feedback_error('{"success": 3, "failed": 1}') is None
    assert feedback_error('{"success": 0, "failed": 0, "total": 0}') is None


def test_a_traceback_that_is_quoted_is_a_result() -> None:
    trace = 'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\nValueError: x'
    assert feedback_error(trace) == feedback_error(f"start\n{trace}") == "Tool Call Failure"
    assert feedback_error(f"A page on tracebacks.\n\n{trace}\n\nThe last line names the exception.") is None
    assert feedback_error(f"10:04 ERROR worker\n{trace}") is None


_HOSTILE = (
    "<a>", "<a></a>", "<result>", "</result>", "```\n", "the ", "invalid city ", "错误", "エラー", "त्रुटि ", "خطا ",
    "Tool output: ", "response:\n{", "at x\n\tat ", "Traceback (most recent call last):\n", "bash: ", "exit code: ",
    "warning\n", "[error] ", '{"detail": [', '[{"type": "text", "text": "', "content=[text='", "Caused by: A.", "<!--",
)  # fmt: skip


@pytest.mark.parametrize("unit", _HOSTILE)
def test_reading_takes_linear_time(unit: str) -> None:
    started = time.process_time()
    assert feedback_error(unit * 40_000) in (None, *CATEGORIES)
    assert time.process_time() - started < 5  # a second on a slow machine; quadratic time is minutes
