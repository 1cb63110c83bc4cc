"""The calendar and the alarm clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .calls import DATE, TIME, Param, ToolSpec, parse_time, refusal, value_error
from .world import World, next_id

_TIME = "as YYYY-MM-DD HH:MM:SS"
Arguments = Mapping[str, Any]


def _add(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    start, end = given["start_time"], given["end_time"]
    if end <= start:
        raise value_error("end_time must come after start_time")
    for event in world.events:
        begins, ends = parse_time(event["start_time"]), parse_time(event["end_time"])
        taken = begins and ends and begins.strftime(TIME) < end and ends.strftime(TIME) > start
        if taken:
            title = str(event["title"])[:80]
            raise refusal(f"the time is taken by {title!r} ({event['start_time']} to {event['end_time']})")
    event = {"id": next_id(world.events), **given}
    told = {"status": "success", "message": f"The event {event['id']} is in the calendar."}
    return told, world.changed(events=(*world.events, event))


def _today(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    return {"status": "success", "data": _between(world, now.strftime(DATE), now.strftime(DATE) + " 24")}, world


def _range(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    start, end = given["start_time"], given["end_time"]
    last = end + " 24" if len(end) == len("2024-05-28") else end
    if last < start:
        raise value_error("end_time must not come before start_time")
    return {"status": "success", "data": _between(world, start, last)}, world


def _between(world: World, start: str, end: str) -> list[Mapping[str, Any]]:
    """Return events that begin in a range of times, first to last; texts of times compare as times do."""
    found = [(moment.strftime(TIME), event) for event in world.events if (moment := parse_time(event["start_time"]))]
    return [event for begins, event in sorted(found, key=lambda pair: pair[0]) if start <= begins <= end]


def _delete(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    left = tuple(event for event in world.events if event["id"] != given["event_id"])
    if len(left) == len(world.events):
        raise refusal(f"event {given['event_id']} is not in the calendar")
    return {"status": "success", "message": "The event is deleted."}, world.changed(events=left)


def _alarm(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    if given["alarm_time"] <= now.strftime(TIME):
        raise value_error(f"alarm_time must come after the present time {now.strftime(TIME)}")
    alarm = {"id": next_id(world.alarms), **given}
    return {"status": "success", "message": "The alarm is set."}, world.changed(alarms=(*world.alarms, alarm))


def _alarms(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    today = [
        alarm
        for alarm in world.alarms
        if (moment := parse_time(alarm["alarm_time"])) is not None and moment.date() == now.date()
    ]
    return {"status": "success", "data": today}, world


SPECS = (
    ToolSpec(
        "add_event_in_calendar",
        "calendar",
        "Put an event into the user's calendar. It must not overlap with another one.",
        (
            Param("title", "text", "What the event is called."),
            Param("description", "text", "What it is about."),
            Param("start_time", "time", f"When it begins, {_TIME}."),
            Param("end_time", "time", f"When it ends, {_TIME}."),
            Param("reminder", "time", f"When the user is reminded of it, {_TIME}; none without it.", needed=False),
        ),
        _add,
        mutates=True,
    ),
    ToolSpec("view_today_events_in_calendar", "calendar", "List the events that begin today.", (), _today),
    ToolSpec(
        "view_events_in_calendar_by_providing_time_range",
        "calendar",
        "List the events that begin within a range of days, the last day included.",
        (
            Param("start_time", "day_time", "First day, as YYYY-MM-DD."),
            Param("end_time", "day_time", "Last day, as YYYY-MM-DD."),
        ),
        _range,
    ),
    ToolSpec(
        "delete_event_in_calendar",
        "calendar",
        "Delete an event of the calendar.",
        (Param("event_id", "integer", "The event's id, as the views of the calendar show it."),),
        _delete,
        mutates=True,
    ),
    ToolSpec(
        "add_alarm",
        "calendar",
        "Set an alarm.",
        (
            Param("alarm_time", "time", f"When it rings, {_TIME}."),
            Param("message", "text", "What it shows when it rings."),
        ),
        _alarm,
        mutates=True,
    ),
    ToolSpec("view_today_alarms", "calendar", "List today's alarms.", (), _alarms),
)
