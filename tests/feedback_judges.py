"""Judges of feedback by a user, named as `feedback_judges:function` by the tests."""

from __future__ import annotations

from typing import Any

from llamafactory_ext.tl.feedback import feedback_error
from llamafactory_ext.toolcalls import ToolCall


def sold_out(text: str) -> str | None:
    """A category of its own for one word, else what our rules say."""
    return "Sold Out" if "sold out" in text else feedback_error(text)


def flag(text: str) -> bool:
    """An error or none, without a category."""
    return "sold out" in text


def all_wrong(text: str) -> str:
    """Every call is an error."""
    return "Refused"


def of_call(text: str, *, call: ToolCall | None) -> str | None:
    """Names the tool."""
    return None if text == "fine" else f"refused by {'?' if call is None else call.name}"


def anything(text: str, **context: Any) -> Any:
    """Return what the text says."""
    values: dict[str, Any] = {"number": 3, "list": ["a"], "lines": "a\nb", "long": "a" * 99, "empty": "", "no": False}
    return values.get(text)


def broken(text: str) -> str | None:
    """Does not work."""
    raise KeyError(text)


NUMBER = 3
