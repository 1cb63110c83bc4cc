"""The published tools of calendar, mail and health as they behave, faults included (commit 565d82a); our own code.

Each tool has records of its own: what one changes no other sees (B1). A result may be no JSON (NaN, B16); an error is
the text that Python gives there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from .bm25 import Bm25
from .calls import DATE, TIME
from .world import Row, World

ADDRESS = re.compile(r"^[a-zA-Z0-9_.+-]+@[a-zA-Z0-9-]+\.[a-zA-Z0-9-.]+$")
_NESTED = re.compile(r"[+*}]\s*\)\s*[+*{?]|\([^)]*\|[^)]*\)\s*[+*{]")
_LONGEST_PATTERN = 256


@dataclass
class Instances:
    """The records of one user's tools, which live over the user's cases (B2).

    Attributes:
        world: as it was read; never changed.
        added: events of the tool that adds.
        deleted: events of the tool that deletes.
        literal: searches whose pattern was taken literally, since it could take for ever.
    """

    world: World
    added: list[dict[str, Any]] = field(default_factory=list)
    deleted: list[dict[str, Any]] = field(default_factory=list)
    literal: int = 0

    def __post_init__(self) -> None:
        self.added = [dict(event) for event in self.world.events]
        self.deleted = [dict(event) for event in self.world.events]
        self.mail_index: Bm25 | None = None
        self.product_index: Bm25 | None = None


Tool = Callable[..., Any]
Now = str


def time_of(text: Any, form: str = TIME) -> datetime:
    """Return a time; Python's own error where it is none."""
    return _parsed(text, form) if isinstance(text, str) else datetime.strptime(text, form)


@lru_cache(maxsize=1 << 16)
def _parsed(text: str, form: str) -> datetime:
    """Return a time; the records' are asked for again and again."""
    return datetime.strptime(text, form)


@lru_cache(maxsize=1 << 16)
def _written(text: str) -> str:
    return time_of(text).strftime(TIME)


def _shown(event: Row) -> dict[str, Any]:
    return dict(event) | {name: _written(event[name]) for name in ("start_time", "end_time")}


def _add_event_in_calendar(
    own: Instances, now: Now, title: Any, description: Any, start_time: Any, end_time: Any, reminder: Any = None
) -> Any:
    start, end = time_of(start_time), time_of(end_time)
    if reminder is not None:
        time_of(reminder)
    if end <= start:
        raise ValueError("End time must be after start time.")
    if any(start < time_of(e["end_time"]) and end > time_of(e["start_time"]) for e in own.added):
        # B18: the text stands under a key that no other failure has.
        return {"status": "failure", "error message": "The new event is conflicting with other events in Calendar."}
    own.added.append({"start_time": start.strftime(TIME), "end_time": end.strftime(TIME)})
    return {"status": "success", "message": "Event added successfully."}


def _view_today_events_in_calendar(own: Instances, now: Now) -> Any:
    rows = [_shown(event) for event in own.world.events]
    return {"status": "success", "data": [row for row in rows if now[:10] in row["start_time"]]}


def _view_events_in_calendar_by_providing_time_range(own: Instances, now: Now, start_time: Any, end_time: Any) -> Any:
    start, end = time_of(start_time, DATE), time_of(end_time, DATE)
    rows = [(time_of(event["start_time"]), event) for event in own.world.events]
    if start == end:
        last = start + timedelta(days=1)
        return {"status": "success", "data": [_shown(event) for at, event in rows if start <= at < last]}
    # B5: the range ends at midnight, before the last day begins.
    return {"status": "success", "data": [_shown(event) for at, event in rows if start <= at <= end]}


def _delete_event_in_calendar(own: Instances, now: Now, event_id: Any) -> Any:
    left = [event for event in own.deleted if event["id"] != event_id]
    if len(left) == len(own.deleted):
        return {"status": "failure", "message": f"Event id {event_id} is not found"}
    own.deleted = left
    return {"status": "success", "message": "Event deleted successfully."}


def _add_alarm(own: Instances, now: Now, alarm_time: Any, message: Any) -> Any:
    return {"status": "success", "message": "Alarm added successfully"}  # B12: nothing is checked


def _view_today_alarms(own: Instances, now: Now) -> Any:
    return {"status": "success", "data": [row for row in own.world.alarms if now[:10] in row["alarm_time"]]}


def _send_email(own: Instances, now: Now, receiver: Any, subject: Any, content: Any, attachments: Any = None) -> Any:
    subject, content = subject.strip(), content.strip()
    if not subject:
        return {"status": "failure", "message": "Subject cannot be empty."}
    if not content:
        return {"status": "failure", "message": "Content cannot be empty."}
    if isinstance(receiver, str):
        receiver = [receiver.strip()]
    elif isinstance(receiver, list):
        receiver = [one.strip() for one in receiver]
    else:
        return {"status": "failure", "message": "Email receiver should be a string or a list of strings."}
    for one in receiver:
        if ADDRESS.match(one) is None:
            return {"status": "failure", "message": f"Invalid email address: {one}"}
    return {"status": "success", "message": f"The mail to {receiver} is send"}


def _mails_until(own: Instances, now: Now) -> list[tuple[int, Row]]:
    moment = time_of(now)
    return [(place, mail) for place, mail in enumerate(own.world.mails) if time_of(mail["timestamp"]) < moment]


def _get_today_emails_until_now(own: Instances, now: Now) -> Any:
    found = [mail for _, mail in _mails_until(own, now) if now.split(" ")[0] in mail["timestamp"]]
    return {"status": "success", "data": found}


def _search_email_by_sender_and_receiver(own: Instances, now: Now, address: Any) -> Any:
    pattern = guarded(own, address.strip().lower())  # B14: a pattern, not a text
    found = [
        mail
        for _, mail in _mails_until(own, now)
        if pattern.search(mail["sender"]) is not None or pattern.search(mail["receiver"]) is not None
    ]
    return {"status": "success", "data": found}


def guarded(own: Instances, text: str) -> re.Pattern[str]:
    """Return the pattern that a text is, or the text itself where searching by it could take for ever."""
    if len(text) > _LONGEST_PATTERN or _NESTED.search(text) is not None:
        own.literal += 1
        return re.compile(re.escape(text[:_LONGEST_PATTERN]), re.IGNORECASE)
    return re.compile(text, re.IGNORECASE)


def _search_email_by_content(own: Instances, now: Now, query: Any) -> Any:
    if own.mail_index is None:
        own.mail_index = Bm25([mail["content"].split(" ") for mail in own.world.mails])
    scores = own.mail_index.scores(query.split(" "))
    rows = sorted(_mails_until(own, now), key=lambda pair: -scores[pair[0]])[:5]  # B15: whatever their scores
    return {
        "status": "success",
        "data": sorted((mail for _, mail in rows), key=lambda mail: mail["timestamp"], reverse=True),
    }


def _get_current_health_and_mood_status(own: Instances, now: Now) -> Any:
    moment = time_of(now)
    past = [row for row in own.world.health if time_of(row["timestamp"]) <= moment]
    return {"status": "success", "data": past[-1:]}


def _get_recent_health_and_mood_summary(own: Instances, now: Now, time: Any) -> Any:
    moment, since = time_of(now), time_of(time)
    if since >= moment:
        return {"status": "failure", "message": "The input time should be before the current time"}
    found = [row for row in own.world.summaries if since <= time_of(row["date"]) <= moment]
    return {"status": "success", "data": sorted(found, key=lambda row: row["date"], reverse=True)}


def _get_user_recent_workout_records(own: Instances, now: Now, time: Any) -> Any:
    moment, since = time_of(now), time_of(time)
    found = [row for row in own.world.workouts if since <= time_of(row["Start Time"]) <= moment]
    return {"status": "success", "data": found}


TOOLS: Mapping[str, Tool] = {
    "add_event_in_calendar": _add_event_in_calendar,
    "view_today_events_in_calendar": _view_today_events_in_calendar,
    "view_events_in_calendar_by_providing_time_range": _view_events_in_calendar_by_providing_time_range,
    "delete_event_in_calendar": _delete_event_in_calendar,
    "add_alarm": _add_alarm,
    "view_today_alarms": _view_today_alarms,
    "send_email": _send_email,
    "get_today_emails_until_now": _get_today_emails_until_now,
    "search_email_by_sender_and_receiver": _search_email_by_sender_and_receiver,
    "search_email_by_content": _search_email_by_content,
    "get_current_health_and_mood_status": _get_current_health_and_mood_status,
    "get_recent_health_and_mood_summary": _get_recent_health_and_mood_summary,
    "get_user_recent_workout_records": _get_user_recent_workout_records,
}
