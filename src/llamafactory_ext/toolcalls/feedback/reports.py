"""Tool feedback read for what it is: a result, or the report of an error and of which kind.

The rules look at the form of the feedback, never at single words anywhere in it: an error field of an object, an HTTP
status, the text of a Python exception, a sentence that begins as APIs begin their refusals. A result that talks about
errors is a result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import fields as field_rules
from .categories import OTHERS, PARAMETER_HALLUCINATION, PARAMETER_MISSING, TOOL_INSTABILITY
from .field_names import (
    CODE_KEYS,
    ERROR_CODE_KEYS,
    ERROR_FLAGS,
    ERROR_KEYS,
    EXIT_KEYS,
    MESSAGE_KEYS,
    OUTCOME_KEYS,
    REMARK_KEYS,
    STATUS_KEYS,
    SUCCESS_FLAGS,
)
from .fields import Fields
from .kinds import kind_of
from .loose_objects import loose_members
from .words import stated_error
from .wrappers import WRAPPERS, elements, introduced, mcp_result, unfenced, untagged

_MAX_DEPTH = 8  # of objects, lists and wrappers that are opened in search of an error

_ENVELOPE_KEYS = (
    *("response", "result", "output", "data", "toolresult", "toolresponse", "tooloutput", "observation"),
    *("functionresponse", "functionresult", "returnvalue", "structuredcontent", "parts"),
)
_OF_CONTENT = {
    "content",
    "role",
    "name",
    "toolcallid",
    "tooluseid",
    "type",
    "iserror",
    "structuredcontent",
    "meta",
    "id",
}
# Fields of which one must stand in an object that reports an error, or holds such a report.
_TELLING_KEYS = frozenset(
    (
        *(*ERROR_KEYS, *ERROR_CODE_KEYS, *ERROR_FLAGS, *CODE_KEYS, *STATUS_KEYS, *OUTCOME_KEYS, *EXIT_KEYS),
        *(*SUCCESS_FLAGS, *MESSAGE_KEYS, *REMARK_KEYS, *_ENVELOPE_KEYS, "content", "type"),
    )
)
_PAGE = re.compile(r"<(?:!doctype|html)\b", re.IGNORECASE)
_STATUS_LINE = re.compile(r"Status Code:? (?P<code>\d{3})\b[.,]?\s*(?:Response: ?)?(?P<rest>.*)", re.DOTALL)


def error_category(feedback: str) -> str | None:
    """Return the category of the error that a feedback reports; None if it reports none.

    Any text is accepted; reading it takes time linear in its length.
    """
    return _of_text(feedback, 0)


def _of_text(text: str, depth: int) -> str | None:
    text = text.strip()
    if depth >= _MAX_DEPTH or not text:
        return None
    if text[0] in '{["':
        return _of_json(text, depth)
    for unwrap in (unfenced, introduced):
        inner = unwrap(text)
        if inner is not None:
            return _of_text(inner, depth + 1)
    if text[0] == "<" and not _PAGE.match(text) and (parts := elements(text)):
        return _of_elements(parts, depth + 1)
    if (inner := untagged(text)) is not None:
        return _of_text(inner, depth + 1)
    if (result := mcp_result(text)) is not None:
        return kind_of(result[1]) if result[0] else _of_text(result[1], depth + 1)
    status = _STATUS_LINE.match(text)  # ToolAlpaca's feedback
    if status is None:
        return stated_error(text)
    if not field_rules.is_http_error(status["code"]):
        return _of_value(status["rest"], depth)
    found = kind_of(status["rest"])
    return found if found in (PARAMETER_HALLUCINATION, PARAMETER_MISSING) else TOOL_INSTABILITY


def _of_json(text: str, depth: int) -> str | None:
    """Judge JSON, an object that is nearly JSON, or words that begin with a bracket or a quote."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        if text[0] != "{":
            return stated_error(text)
        value = loose_members(text)
    return _of_value(value, depth)


def _of_elements(parts: Sequence[tuple[str, str]], depth: int) -> str | None:
    """Judge elements: those named after errors report one, those named after results hold one or none."""
    named = [(re.sub(r"[\W_]", "", name.lower()), inner.strip()) for name, inner in parts]
    for name, inner in named:
        if name.endswith(("error", "errors", "exception", "fault")) and field_rules.states_error({"error": inner}):
            return kind_of(inner)
    if all(name in WRAPPERS for name, _ in named):
        return _first(_of_text(inner, depth) for _, inner in named)
    return _of_object(dict(reversed(parts)), depth)


def _of_value(value: Any, depth: int) -> str | None:
    if depth >= _MAX_DEPTH:
        return None
    if isinstance(value, str):
        return _of_text(value, depth + 1)
    if isinstance(value, Mapping):
        return _of_object(value, depth + 1)
    if isinstance(value, list) and value:
        return _of_list(value, depth)
    return None


def _of_list(items: list[Any], depth: int) -> str | None:
    if all(map(field_rules.is_validation_error, items)):
        return kind_of(_words(items))
    if all(map(_is_part, items)):
        texts = [item["text"] for item in items if isinstance(item.get("text"), str)]
        flagged = any(item.get("isError") is True for item in items)
        return kind_of(_words(texts)) if flagged else (_of_text(texts[0], depth + 1) if texts else None)
    # A list is a report if all of it is: one refused item among results does not make the call a failure.
    categories = [_of_value(item, depth + 1) if isinstance(item, Mapping) else None for item in items]
    return None if None in categories else categories[0]


def _is_part(item: Any) -> bool:
    """Tell whether this is a part of a message's content, as in MCP and in chat APIs."""
    if not isinstance(item, Mapping) or not isinstance(item.get("type"), str):
        return isinstance(item, Mapping) and item.keys() == {"text"}
    return item["type"] in ("text", "output_text", "image", "audio", "resource", "resource_link", "image_url")


def _of_object(members: Mapping[str, Any], depth: int) -> str | None:
    fields = field_rules.normalised(members)
    if fields.keys().isdisjoint(_TELLING_KEYS):
        return None
    refused = field_rules.states_http_error(fields, _inner_error(fields))
    if refused or field_rules.states_error(fields):
        named = (*ERROR_KEYS, *MESSAGE_KEYS, *REMARK_KEYS, "content")
        found = kind_of(_words([fields[key] for key in named if key in fields]))
        return TOOL_INSTABILITY if refused and found == OTHERS else found
    detail = fields.get("detail")
    if isinstance(detail, list) and detail and all(map(field_rules.is_validation_error, detail)):
        return kind_of(_words(detail))
    if field_rules.says_success(fields):
        return None
    if set(fields) <= {*MESSAGE_KEYS, *STATUS_KEYS, *CODE_KEYS, "type", "title", "text"}:
        words = (*MESSAGE_KEYS, "text")
        return _first(_of_value(fields[key], depth) for key in words if isinstance(fields.get(key), str | Mapping))
    return _first(_of_value(value, depth) for value in _held(fields))


def _held(fields: Fields) -> Iterable[Any]:
    """Return what an object wraps: a result, the parts of a message, or what a command wrote to stderr alone."""
    for key in _ENVELOPE_KEYS:
        value = fields.get(key)
        if value is None:
            continue
        if len(fields) == 1 or not (isinstance(value, str) and value.isalpha()):  # the result of an exam is one word
            yield value
    content = fields.get("content")
    if not isinstance(content, str) or set(fields) <= _OF_CONTENT:
        yield content
    if "stderr" in fields and not fields.get("stdout"):
        yield fields["stderr"]


def _inner_error(fields: Fields) -> Any:
    inner = fields.get("error")
    return loose_members(inner) if isinstance(inner, str) and inner.startswith("{") else inner


def _first(categories: Iterable[str | None]) -> str | None:
    return next((category for category in categories if category is not None), None)


def _words(value: Any, depth: int = 0) -> str:
    """Return all texts and whole numbers of a value in one line."""
    if depth > _MAX_DEPTH or isinstance(value, bool):
        return ""
    if isinstance(value, Mapping | list):
        items = value.values() if isinstance(value, Mapping) else value
        return " ".join(filter(None, (_words(item, depth + 1) for item in items)))
    return str(value) if isinstance(value, str | int) else ""
