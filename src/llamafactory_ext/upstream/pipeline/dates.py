"""The day that a template writes: upstream's `llama3` tools say which day it is, so the same data differ every day.

A run writes the day on which it began, however often it is interrupted.
"""

from __future__ import annotations

import copy
import datetime as calendar
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llamafactory.data import tool_utils

_PROBE = json.dumps([{"name": "f", "description": "", "parameters": {"type": "object", "properties": {}}}])
_DAYS = (calendar.date(2001, 2, 3), calendar.date(1999, 11, 30))


@dataclass
class DatedTools:
    """Writes tools as another formatter does on a certain day; upstream's cache of tokenised data knows the day."""

    inner: Any
    day: calendar.date

    def apply(self, **kwargs: Any) -> Any:
        """Write the tools."""
        with on_day(self.day):
            return self.inner.apply(**kwargs)

    def extract(self, content: str) -> Any:
        """Find the calls of a reply."""
        return self.inner.extract(content)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "inner":  # while a copy is made there is no inner formatter yet
            raise AttributeError(name)
        return getattr(self.inner, name)


def today() -> calendar.date:
    """Return the day that upstream's tools would write now."""
    return calendar.date.fromisoformat(tool_utils.datetime.now().strftime("%Y-%m-%d"))


def writes_day(template: Any) -> bool:
    """Return whether the text of tools differs from day to day."""
    return not isinstance(template.format_tools, DatedTools) and len({tools_on(template, day) for day in _DAYS}) > 1


def tools_on(template: Any, day: calendar.date, tools: str = _PROBE) -> str | None:
    """Return the text of tools on a day; None where the template cannot write it."""
    with on_day(day):
        try:
            return str(template.format_tools.apply(content=tools)[0])
        except Exception:  # formatters raise whatever the tools make them stumble on
            return None


def with_day(template: Any, day: calendar.date) -> Any:
    """Return the template, or where its tools say which day it is a copy whose tools say this one."""
    if not writes_day(template):
        return template
    dated = copy.copy(template)
    dated.format_tools = DatedTools(template.format_tools, day)
    return dated


def day_of(template: Any) -> calendar.date | None:
    """Return the day that `with_day` has set; None where the template writes none."""
    tools = template.format_tools
    return tools.day if isinstance(tools, DatedTools) else None


@contextmanager
def on_day(day: calendar.date) -> Iterator[None]:
    """Have upstream's tools believe that it is this day."""
    clock = tool_utils.datetime

    class Clock:
        @staticmethod
        def now(*_: Any) -> calendar.datetime:
            return calendar.datetime.combine(day, calendar.time(12))

    tool_utils.datetime = Clock
    try:
        yield
    finally:
        tool_utils.datetime = clock
