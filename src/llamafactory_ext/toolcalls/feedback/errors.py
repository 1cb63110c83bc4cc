"""The error that a tool's feedback reports, by the paper's categories (TL-Training, arXiv:2412.15495, Table 14)."""

from __future__ import annotations

import re

from ...errors import OptionError
from .categories import (
    OTHERS,
    PARAMETER_HALLUCINATION,
    PARAMETER_MISSING,
    TOOL_CALL_FAILURE,
    TOOL_HALLUCINATION,
    TOOL_INSTABILITY,
)
from .reports import error_category

RULES = ("structured", "reference")
# The categories of the paper's Table 14 other than "All Right".
CATEGORIES = (
    TOOL_INSTABILITY,
    TOOL_CALL_FAILURE,
    TOOL_HALLUCINATION,
    PARAMETER_HALLUCINATION,
    PARAMETER_MISSING,
    OTHERS,
)
# What the released rule gives: it looks for an error, not for its kind.
UNCATEGORISED = "Uncategorised"

# The released rule keeps these characters of a text (the caret by accident) and looks for these marks in what is left.
_DROPPED = re.compile(r"[^\u4e00-\u9fa5A-Za-z0-9^]")
_MARKS = (
    "error",
    "isnotdefined",
    "positionalargument",
    "unexpectedkeyword",
    "relatedsearches",
    "notsupported",
    "invalidapicall",
    "objectoftypeserpresultsisnotjsonserializable",
    "sliceindicesmustbeintegersornoneorhaveanindexmethod",
)


def feedback_error(text: str, rules: str = "structured") -> str | None:
    """Return the category of the error that a tool's feedback reports; None if it reports none.

    Args:
        text: the feedback, as the tool gave it.
        rules: "structured" reads error fields of objects, HTTP statuses, texts of Python exceptions and sentences that
            state a failure, and sorts them into `CATEGORIES` (Figure 3 and Table 14). "reference" is the rule of the
            released code, which keeps letters and digits only and looks for marks such as "error" anywhere: it takes
            "margin of error" for an error and misses "HTTP 404 not found"; its only category is `UNCATEGORISED`.

    In Table 14, `{"error": "Response error."}` follows a failed call as well as the call of an unknown tool: the text
    alone gives "Tool Call Failure", and `judge_calls` tells them apart by the declared tools.

    Raises:
        OptionError: no such rules.
    """
    if rules == "structured":
        return error_category(text)
    if rules == "reference":
        left = _DROPPED.sub("", text).lower()
        return UNCATEGORISED if any(mark in left for mark in _MARKS) else None
    raise OptionError(f"There are no feedback rules {rules!r}; choose one of {', '.join(RULES)}.")
