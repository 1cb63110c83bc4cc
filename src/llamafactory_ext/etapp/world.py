"""The world of one user: records that tools read and change.

A world never changes. A tool returns another one, which shares all records that it did not touch, so a copy for a case
costs nothing and no case can see what another has done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Row = Mapping[str, Any]
Rows = tuple[Row, ...]

STATE = ("events", "alarms", "mails", "cart", "home", "player")
"""What tools can change; everything else is the same in all worlds of a user."""


@dataclass(frozen=True)
class Shared:
    """What all users see.

    Attributes:
        weather: by city and date: "date", "day" (a summary), "hour" (24 rows with "time", "temp_c", "humidity").
        lodgings: rows of accommodations, with "NAME" and "city".
        attractions: rows with "Name" and "City".
        restaurants: rows with "Name" and "City".
        flights: rows with "OriginCityName", "DestCityName" and "FlightDate".
        songs: rows with "title" and "annotation_count".
        products: rows with "asin" and "product_title".
        news: rows with "category" and "news", a list of articles.
        encyclopedia: rows with "title" and "text".
        missing: tools whose data a checkout lacks.
    """

    weather: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lodgings: Rows = ()
    attractions: Rows = ()
    restaurants: Rows = ()
    flights: Rows = ()
    songs: Rows = ()
    products: Rows = ()
    news: Rows = ()
    encyclopedia: Rows = ()
    missing: frozenset[str] = frozenset()


@dataclass(frozen=True)
class World:
    """One user's records.

    Attributes:
        user: the user's key, without blanks.
        city: where the user lives.
        profile: who the user is.
        preferences: by domain, as the model is told of them.
        shared: what all users see.
        events: the calendar's.
        alarms: the clock's.
        mails: received and sent.
        health: one record each hour.
        summaries: one record each day.
        workouts: records of exercise.
        favourites: the user's songs.
        cart: the shopping cart's lines.
        home: what was set in the home; climate values are None until they are set.
        player: what plays, or None.
    """

    user: str
    city: str
    profile: Mapping[str, Any]
    preferences: Mapping[str, Any]
    shared: Shared
    events: Rows = ()
    alarms: Rows = ()
    mails: Rows = ()
    health: Rows = ()
    summaries: Rows = ()
    workouts: Rows = ()
    favourites: Rows = ()
    cart: Rows = ()
    home: Row = field(default_factory=lambda: dict(HOME))
    player: Row | None = None

    def fork(self) -> World:
        """Return a world of its own that holds the same."""
        return replace(self)

    def changed(self, **parts: Any) -> World:
        """Return a world in which parts of the state are other ones."""
        if unknown := parts.keys() - set(STATE):
            raise TypeError(f"no state: {sorted(unknown)}")
        return replace(self, **parts)


ROOMS = ("residence", "kitchen", "dining room", "living room", "bedroom", "bathroom")
HOME: Row = {
    "temperature": None,
    "humidity": None,
    "curtains": "open",
    "lights": {room: {"on": False, "brightness": None, "color": None} for room in ROOMS},
    "bathtub": {"filled": False, "water_level": None, "temperature": None, "keep_temperature": False},
    "kettle": {"temperature": None, "keep_temperature": False},
}
"""A home in which nothing was set yet."""

Change = tuple[str, Any, Any]


def diff(before: World, after: World) -> list[Change]:
    """Return what differs in the state of two worlds: (path, before, after), sorted by path."""
    found: list[Change] = []
    for part in STATE:
        _compare(part, getattr(before, part), getattr(after, part), found)
    return sorted(found, key=lambda change: change[0])


def _compare(path: str, old: Any, new: Any, found: list[Change]) -> None:
    if old is new or old == new:
        return
    if isinstance(old, tuple) and isinstance(new, tuple):
        old, new = _by_id(old), _by_id(new)
        for key in dict.fromkeys([*old, *new]):
            if old.get(key) != new.get(key):
                found.append((f"{path}/{key}", old.get(key), new.get(key)))
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            _compare(f"{path}/{key}", old.get(key), new.get(key), found)
    else:
        found.append((path, old, new))


def _by_id(rows: Rows) -> dict[str, Row]:
    """Return rows by their ids; of several with one id each keeps a place of its own."""
    found: dict[str, Row] = {}
    for row in rows:
        key, place = str(row.get("id")), 1
        while key in found:
            place += 1
            key = f"{row.get('id')}#{place}"
        found[key] = row
    return found


def next_id(rows: Rows) -> int:
    """Return the first number above all ids."""
    numbers = [row["id"] for row in rows if isinstance(row.get("id"), int)]
    return max(numbers, default=0) + 1
