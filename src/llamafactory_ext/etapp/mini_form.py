"""What one instruction of the mini world consists of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .mini_world import SECOND

Gold = tuple[list[tuple[str, dict[str, Any]]], str]


@dataclass(frozen=True)
class Instruction:
    """What all four users say.

    Attributes:
        now: when.
        place: Home or Office.
        query: the words.
        given: tools on offer.
        checks: what must have happened; see `checks.py`.
        personal: key points about the user.
        proactive: key points beyond the request.
        gold: calls and answer, from the user's slots.
        follow_ups: what the user says if something has not happened.
    """

    now: str
    place: str
    query: str
    given: tuple[str, ...]
    checks: dict[str, Any]
    personal: tuple[str, ...]
    proactive: tuple[str, ...]
    gold: Callable[[dict[str, Any]], Gold]
    follow_ups: tuple[dict[str, Any], ...] = field(default=())


def slot(name: str) -> dict[str, str]:
    """Return the value that stands for what this user likes."""
    return {"slot": name}


def need(tool: str, **arguments: Any) -> dict[str, Any]:
    """Return the pattern of an effect."""
    return {"tool": tool, "args": arguments}


TOMORROW = ("view_events_in_calendar_by_providing_time_range", {"start_time": SECOND, "end_time": SECOND})
"""The call that shows the second day's events."""
