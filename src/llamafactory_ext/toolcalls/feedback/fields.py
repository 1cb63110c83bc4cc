"""Fields of an object that report an error, one by one; `reports.py` puts them together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from .field_names import (
    CODE_KEYS,
    COUNTS,
    ERROR_CODE_KEYS,
    ERROR_FLAGS,
    ERROR_KEYS,
    ERROR_WORDS,
    EXIT_KEYS,
    FAILED_WORDS,
    MESSAGE_KEYS,
    NEGATED_WORDS,
    NO_ERROR,
    OF_REFUSALS,
    OF_REPORTS,
    OUTCOME_KEYS,
    REFUSAL_WORDS,
    REMARK_KEYS,
    STATUS_KEYS,
    SUCCESS_FLAGS,
)
from .kinds import CODED_PHRASES

Fields = Mapping[str, Any]
_ERROR_KEYS = frozenset(ERROR_KEYS)
_SAID_KEYS = frozenset((*MESSAGE_KEYS, *REMARK_KEYS))

_NUMBER = re.compile(r"[-+±~]?\d+(?:\.\d+)?\s?(?:%|percent|[a-zµ°]{1,3})?")
_HTTP = re.compile(rf"(?:http(?:/[\d.]+)?[ :]*)?[45]\d\d(?:[ :,-]+(?:{CODED_PHRASES})\b.*)?", re.IGNORECASE)


def normalised(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields by their names in lower case, letters and digits only.

    Of two fields of one name the first that is not empty counts.
    """
    fields: dict[str, Any] = {}
    for name, value in members.items():
        key = name if name.isascii() and name.isalnum() and name.islower() else re.sub(r"[\W_]", "", name.lower())
        if fields.get(key) in (None, ""):
            fields[key] = value
    return fields


def has_message(fields: Fields) -> bool:
    """Tell whether there are words of any kind beside the other fields."""
    return any(value for key, value in fields.items() if key in _SAID_KEYS)


def states_http_error(fields: Fields, inner: Any) -> bool:
    """Tell whether a status of HTTP is one of an error; a code without words may be any number.

    Args:
        fields: of the object.
        inner: the object in its error field, if there is one.
    """
    return (
        any(is_http_error(fields[key]) for key in STATUS_KEYS if key in fields)
        or (has_message(fields) and any(is_http_error(fields[key]) for key in CODE_KEYS if key in fields))
        or (isinstance(inner, Mapping) and any(is_http_error(inner.get(key)) for key in (*STATUS_KEYS, *CODE_KEYS)))
    )


def is_http_error(value: Any) -> bool:
    """Tell whether a value is a status from 400 to 599, as a number or as text with or without its phrase."""
    if isinstance(value, str):
        return len(value) < 200 and _HTTP.fullmatch(value.strip()) is not None
    return isinstance(value, int) and 400 <= value <= 599


def states_error(fields: Fields) -> bool:
    """Tell whether any field says by itself that the call failed."""
    said = has_message(fields)
    return (
        any(_reports(key, value, said) for key, value in fields.items() if key in _ERROR_KEYS)
        or any(_is_error_code(fields[key]) for key in ERROR_CODE_KEYS if key in fields)
        or any(_is_true(fields[key]) for key in ERROR_FLAGS if key in fields)
        or _denies_success(fields)
        or _is_failed_status(fields, said)
        or _exit_code(fields) not in (None, 0)
        or _is_problem(fields)
        or _is_refusal(fields, said)
    )


def says_success(fields: Fields) -> bool:
    """Tell whether the object says that the call succeeded."""
    words = (str(fields.get(key)).strip().lower() for key in STATUS_KEYS)
    return (
        any(_is_true(fields.get(key)) for key in SUCCESS_FLAGS)
        or any(word in ("success", "ok", "200", "201") for word in words)
        or _exit_code(fields) == 0
    )


def is_validation_error(item: Any) -> bool:
    """Tell whether this is one entry of FastAPI's or Pydantic's list of errors."""
    if not isinstance(item, Mapping):
        return False
    return "msg" in item and ("loc" in item or "type" in item)


def _reports(key: str, value: Any, said: bool, depth: int = 0) -> bool:
    """Tell whether an error field reports an error.

    A number alone is a measure or a count, unless it is an HTTP status.
    """
    if isinstance(value, bool) or value is None:
        return value is True
    if isinstance(value, int | float):
        return is_http_error(value) or (value != 0 and said and key != "errors")
    if isinstance(value, str):
        text = value.strip().lower().rstrip(".")
        return text not in NO_ERROR and (_NUMBER.fullmatch(text) is None or is_http_error(text))
    if depth == 4:
        return bool(value)
    if isinstance(value, Mapping):
        return any(_reports(str(name), part, name == "code", depth + 1) for name, part in value.items())
    return any(_reports(key, part, False, depth + 1) for part in value)


def _is_error_code(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() not in (*NO_ERROR, "0", "200")
    return isinstance(value, int) and value not in (0, 200)


def _is_true(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.strip().lower() == "true")


def _denies_success(fields: Fields) -> bool:
    for key in SUCCESS_FLAGS:
        value = fields.get(key)
        if value is False or (isinstance(value, str) and value.strip().lower() in ("false", "no", "0")):
            return True
        # Beside other counts, 0 is how many succeeded.
        if value == 0 and type(value) is int and not any(type(fields.get(other)) is int for other in COUNTS):
            return True
    return False


def _is_failed_status(fields: Fields, said: bool) -> bool:
    """Tell whether "failed" is the call's: orders fail too; it needs a message and little else, or stands alone."""
    for key in OUTCOME_KEYS:
        if key not in fields:
            continue
        value = fields[key]
        word = value.strip().lower() if isinstance(value, str) else ""
        others = {name for name, value in fields.items() if name != key and value not in (None, "", [], {})}
        few = not others or (said and len(fields) <= 3) or others <= OF_REPORTS
        if (word in ERROR_WORDS and (key == "status" or few)) or (few and word in FAILED_WORDS):
            return True
        if key == "status" and few and said and (value is False or word == "false"):
            return True
    return False


def _exit_code(fields: Fields) -> int | None:
    """Return the exit code of a command; 1 with an empty stderr is how grep, diff and test say no, and counts as 0."""
    for key in EXIT_KEYS:
        value = fields.get(key)
        if isinstance(value, str) and re.fullmatch(r"-?\d{1,10}", value.strip()):
            value = int(value)
        if type(value) is not int:
            continue
        quiet = isinstance(fields.get("stderr"), str) and not fields["stderr"].strip()
        return 0 if value == 1 and quiet else value
    return None


def _is_problem(fields: Fields) -> bool:
    """Tell whether these are problem details (RFC 9457) without a status: the type is an address."""
    kind = fields.get("type")
    return (
        isinstance(kind, str)
        and isinstance(fields.get("title"), str)
        and (kind == "about:blank" or re.match(r"https?://\S*(?:prob|error|rfc\d)", kind) is not None)
    )


def _is_refusal(fields: Fields, said: bool) -> bool:
    """Tell whether a code or type names a refusal, beside words and little else; JSON-RPC's codes are negative."""
    if not said or not fields.keys() <= OF_REFUSALS:
        return False
    codes = [fields.get(key) for key in (*CODE_KEYS, "ret", "type", "name", "errortype", "errorname")]
    status = fields.get("status", fields.get("httpstatus"))
    if isinstance(status, str) and re.fullmatch(r"[A-Z]+(?:_[A-Z]+)+", status):  # REQUEST_DENIED
        codes.append(status)
    if any(type(code) is int and code < 0 for code in codes[:3]):
        return True
    named = any(isinstance(code, str) and _names_refusal(code) for code in codes)
    data = fields.get("data", ...)
    coded = any(type(code) is int and code not in (0, 1, 200, 201) for code in codes[:2])
    return named or (coded and (data is None or data == {} or data == []) and not _says_done(fields))


def _names_refusal(code: str) -> bool:
    """Tell whether an identifier such as invalid_api_key, NotFound or ENOENT names a refusal."""
    if len(code) > 80 or re.fullmatch(r"[\w. -]+", code) is None:
        return False
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", code)]
    negated = not NEGATED_WORDS.isdisjoint(pairwise(words))
    return negated or not REFUSAL_WORDS.isdisjoint(words) or re.fullmatch(r"E[A-Z]{3,12}", code) is not None


def _says_done(fields: Fields) -> bool:
    words = (str(fields.get(key) or "").strip().lower() for key in MESSAGE_KEYS)
    return any(re.match(r"(?:ok|success|succeed|done|成功|操作成功|请求成功|查询成功|完成)", word) for word in words)
