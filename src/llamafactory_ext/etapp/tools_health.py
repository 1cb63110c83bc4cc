"""The user's health records."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .calls import TIME, Param, ToolSpec, parse_time, value_error
from .world import Row, Rows, World

Arguments = Mapping[str, Any]


def _current(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    past = [row for row in world.health if (moment := parse_time(row["timestamp"])) and moment <= now]
    return {"status": "success", "data": past[-1:]}, world


def _summary(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    return {"status": "success", "data": list(reversed(_since(world.summaries, "date", now, given)))}, world


def _workouts(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    return {"status": "success", "data": _since(world.workouts, "Start Time", now, given)}, world


def _since(rows: Rows, column: str, now: datetime, given: Arguments) -> list[Row]:
    if given["time"] >= now.strftime(TIME):
        raise value_error(f"time must come before the present time {now.strftime(TIME)}")
    found = [(moment.strftime(TIME), row) for row in rows if (moment := parse_time(row[column])) and moment <= now]
    return [row for begins, row in sorted(found, key=lambda pair: pair[0]) if begins >= given["time"]]


_SINCE = (Param("time", "time", "From when on, as YYYY-MM-DD HH:MM:SS."),)

SPECS = (
    ToolSpec(
        "get_current_health_and_mood_status", "health", "Show the newest record of health and mood.", (), _current
    ),
    ToolSpec(
        "get_recent_health_and_mood_summary",
        "health",
        "Show the daily summaries of health and mood from a time until now, newest first.",
        _SINCE,
        _summary,
    ),
    ToolSpec(
        "get_user_recent_workout_records", "health", "List the workouts from a time until now.", _SINCE, _workouts
    ),
)
