"""Tool feedback read for what it is: a result, or the report of an error and of which kind.

The rules look at the form of the feedback, never at single words anywhere in it: an error field of an object, an HTTP
status, the text of a Python exception, a sentence that begins as APIs begin their refusals. A result that talks about
errors is a result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .loose_objects import loose_members
from .words import OTHERS, PARAMETER_HALLUCINATION, PARAMETER_MISSING, TOOL_INSTABILITY, kind_of, stated_error

_MAX_DEPTH = 8  # of objects and lists that are opened in search of an error

# Names of members in lower case, without anything but letters and digits.
_ERROR_KEYS = ("error", "errors", "err", "errormessage", "errormsg", "errordescription", "exception", "traceback")
_ERROR_CODE_KEYS = ("errorcode", "errcode", "errno")
_ERROR_FLAGS = ("iserror", "haserror")
_SUCCESS_FLAGS = ("success", "ok", "successful", "issuccess")
_STATUS_KEYS = ("status", "statuscode", "httpstatus", "httpcode", "httpstatuscode")
_CODE_KEYS = ("code", "cod")
_MESSAGE_KEYS = ("message", "msg", "detail", "details")
_REMARK_KEYS = ("messages", "information", "note", "text", "description")
_ENVELOPE_KEYS = ("response", "result", "output", "data")
_NO_ERROR = {
    "",
    "none",
    "null",
    "nil",
    "false",
    "no",
    "no error",
    "no errors",
    "ok",
    "success",
    "n/a",
    "na",
    "{}",
    "[]",
}
_NUMBER = re.compile(r"[-+±~]?\d+(?:\.\d+)?\s?%?")
_STATUS_LINE = re.compile(r"Status Code:? (?P<code>\d{3})\b[.,]?\s*(?:Response: ?)?(?P<rest>.*)", re.DOTALL)


def error_category(feedback: str) -> str | None:
    """The category of the error that a feedback reports; None if it reports none.

    Any text is accepted; reading it takes time linear in its length.
    """
    return _of_text(feedback, 0)


def _of_text(text: str, depth: int) -> str | None:
    text = text.strip()
    if text[:1] in ("{", "["):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = loose_members(text) if text[0] == "{" else None
        return _of_value(value, depth)
    status = _STATUS_LINE.match(text)  # ToolAlpaca's feedback
    if status is None:
        return stated_error(text)
    if not _is_http_error(status["code"]):
        return _of_value(status["rest"], depth)
    found = kind_of(status["rest"])
    return found if found in (PARAMETER_HALLUCINATION, PARAMETER_MISSING) else TOOL_INSTABILITY


def _of_value(value: Any, depth: int) -> str | None:
    if depth == _MAX_DEPTH:
        return None
    if isinstance(value, str):
        return _of_text(value, depth + 1)
    if isinstance(value, Mapping):
        return _of_object(value, depth + 1)
    if isinstance(value, list) and value:
        # A list is a report if all of it is: one refused item among results does not make the call a failure.
        categories = [_of_value(item, depth + 1) if isinstance(item, Mapping) else None for item in value]
        return None if None in categories else categories[0]
    return None


def _of_object(members: Mapping[str, Any], depth: int) -> str | None:
    fields = {re.sub(r"[^a-z0-9]", "", name.lower()): value for name, value in members.items()}
    has_message = any(fields.get(key) for key in (*_MESSAGE_KEYS, *_REMARK_KEYS))
    refused = _states_http_error(fields, has_message)
    if (
        refused
        or any(_reports(fields.get(key), has_message) for key in _ERROR_KEYS)
        or any(_is_error_code(fields.get(key)) for key in _ERROR_CODE_KEYS)
        or any(fields.get(key) is True for key in _ERROR_FLAGS)
        or any(fields.get(key) is False for key in _SUCCESS_FLAGS)
        or _is_failed_status(fields, has_message)
    ):
        found = kind_of(
            _words([fields[key] for key in (*_ERROR_KEYS, *_MESSAGE_KEYS, *_REMARK_KEYS) if key in fields])
        )
        return TOOL_INSTABILITY if refused and found == OTHERS else found
    if _says_success(fields):
        return None
    if fields and set(fields) <= {*_MESSAGE_KEYS, *_STATUS_KEYS, *_CODE_KEYS, "type", "title"}:
        return _first(_of_value(fields[key], depth) for key in _MESSAGE_KEYS if isinstance(fields.get(key), str))
    return _first(_of_value(fields.get(key), depth) for key in _ENVELOPE_KEYS)


def _states_http_error(fields: Mapping[str, Any], has_message: bool) -> bool:
    inner = fields.get("error")
    if isinstance(inner, str) and inner.startswith("{"):  # an object inside one that is no JSON
        inner = loose_members(inner)
    keys = (*_STATUS_KEYS, *_CODE_KEYS)
    return (
        any(_is_http_error(fields.get(key)) for key in _STATUS_KEYS)
        or (has_message and any(_is_http_error(fields.get(key)) for key in _CODE_KEYS))
        or (isinstance(inner, Mapping) and any(_is_http_error(inner.get(key)) for key in keys))
    )


def _reports(value: Any, has_message: bool) -> bool:
    """Whether an error field reports an error; a number alone is a measure, unless it is an HTTP status."""
    if isinstance(value, bool) or value is None:
        return value is True
    if isinstance(value, int | float):
        return _is_http_error(value) or (value != 0 and has_message)
    if isinstance(value, str):
        text = value.strip().lower().rstrip(".")
        return text not in _NO_ERROR and (_NUMBER.fullmatch(text) is None or _is_http_error(text))
    return bool(value)  # a list or an object


def _is_http_error(value: Any) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"[45]\d\d", value) is not None
    return isinstance(value, int) and 400 <= value <= 599


def _is_error_code(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() not in (*_NO_ERROR, "0", "200")
    return isinstance(value, int) and value not in (0, 200)


def _is_failed_status(fields: Mapping[str, Any], has_message: bool) -> bool:
    """Orders and payments fail too, as results: "failed" needs a message and little else, or stands alone."""
    status = fields.get("status")
    word = status.strip().lower() if isinstance(status, str) else ""
    few = len(fields) == 1 or (has_message and len(fields) <= 3)
    return word in ("error", "exception") or (few and word in ("fail", "failed", "failure"))


def _says_success(fields: Mapping[str, Any]) -> bool:
    words = (str(fields.get(key)).strip().lower() for key in _STATUS_KEYS)
    return any(fields.get(key) is True for key in _SUCCESS_FLAGS) or any(
        word in ("success", "ok", "200", "201") for word in words
    )


def _first(categories: Iterator[str | None]) -> str | None:
    return next((category for category in categories if category is not None), None)


def _words(value: Any, depth: int = 0) -> str:
    """All texts and whole numbers of a value in one line."""
    if depth > _MAX_DEPTH or isinstance(value, bool):
        return ""
    if isinstance(value, Mapping | list):
        items = value.values() if isinstance(value, Mapping) else value
        return " ".join(filter(None, (_words(item, depth + 1) for item in items)))
    return str(value) if isinstance(value, str | int) else ""
