"""What the files of a checkout must hold, so that no tool meets a value that it cannot take."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ..errors import DataError
from .calls import TIME
from .tables import Table, refuse_lacking

COLUMNS: Mapping[str, Sequence[str]] = {
    "events": ("id", "title", "description", "start_time", "end_time", "reminder"),
    "alarms": ("id", "alarm_time", "message"),
    "mails": ("id", "sender", "receiver", "subject", "content", "timestamp", "status", "read_status", "attachments"),
    "health": ("timestamp", "steps"),
    "summaries": ("date", "activity"),
    "workouts": ("Activity Type", "Start Time"),
    "favourites": ("id", "music_type", "title", "artist"),
    "cart": ("id", "asin", "product_title", "quantity"),
    "play_music": ("title", "annotation_count"),
    "search_products_in_shopping_manager": ("asin", "product_title", "product_price"),
}
"""The columns by which a table is known, by the table of a user or the tool of a common one."""
_NUMBERS = ("annotation_count",)
_LEAST_YEAR, _MOST_YEAR = 1900, 9998


def check_rows(rows: Table, table: str, place: str) -> None:
    """Make sure that a table has the columns that tools read, be it without rows.

    Raises:
        DataError: it lacks some, or one of numbers holds something else.
    """
    refuse_lacking(rows, COLUMNS[table], place)
    for name in _NUMBERS:
        if name in rows.columns and any(type(row[name]) not in (int, float) for row in rows):
            raise DataError(f"{place}: the column {name} holds what is no number; get the file again.")


def checked_weather(found: Any, place: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the weather by city and date: each day with its hours.

    Raises:
        DataError: it has another form.
    """
    try:
        weather = {
            str(c): {str(d): dict(one["forecast"]["forecastday"][0]) for d, one in found[c].items()} for c in found
        }
        for days in weather.values():
            for day in days.values():
                for hour in day["hour"]:
                    if not isinstance(hour["time"], str):
                        raise TypeError("a time is no text")
                    if any(type(hour[name]) not in (int, float) for name in ("temp_c", "humidity")):
                        raise TypeError("a temperature or a humidity is no number")
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{place} has another form than the published file ({error!r}); get the file again.") from None
    return weather


def checked_news(found: Any, place: str) -> tuple[Mapping[str, Any], ...]:
    """Return the news by category.

    Raises:
        DataError: it has another form.
    """
    rows: list[Any] = list(found) if isinstance(found, list | tuple) else [None]
    if not all(
        isinstance(row, dict) and "category" in row and isinstance(row.get("news"), list | tuple) for row in rows
    ):
        raise DataError(f"{place} has another form than the published file; get the file again.")
    return tuple(rows)


def checked_instruction(record: Any) -> tuple[datetime, Mapping[str, Any]]:
    """Return an instruction's time, and the record with lists of texts as tuples.

    Raises:
        KeyError: it lacks something.
        ValueError: something is of another kind.
    """
    if not isinstance(record, dict):
        raise ValueError("it is no object")
    found: dict[str, Any] = {}
    for name in ("timestamp", "query", "location"):
        found[name] = record[name]
        if not isinstance(found[name], str) or not found[name].strip():
            raise ValueError(f"{name} is no text")
        if name == "timestamp":
            now = datetime.strptime(found[name], TIME)
    for name in ("available_tools_name", "keypoint for personal", "keypoint for proactive"):
        value = record[name]
        if not isinstance(value, list) or not all(isinstance(one, str) and one.strip() for one in value):
            raise ValueError(f"{name} is no list of texts")
        found[name] = tuple(value)
    if not _LEAST_YEAR <= now.year <= _MOST_YEAR:
        raise ValueError(f"the year {now.year}")
    return now, found


def check_template(text: str, names: Sequence[str], place: str) -> None:
    """Make sure that a text of the checkout has these places to fill and no others, each by its bare name.

    Raises:
        DataError: it has another, or one with a form of its own: that could reach or blow up anything.
    """
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise DataError(f"--prompts checkout: {place} is no text to fill ({error}); complete the checkout.") from None
    for _, name, form, turned in parts:
        if name is not None and (name not in names or form or turned):
            raise DataError(
                f"--prompts checkout: {place} asks for {{{name[:40]}}}, which is not there; complete the checkout."
            )
