"""Travel and weather."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from .calls import DATE, Param, ToolSpec, parse_time, refusal, value_error
from .world import Row, Rows, World

Arguments = Mapping[str, Any]
_MOST_DAYS = 31


def city_key(name: Any) -> str:
    """Return a city's name as it is compared: without blanks around it, its state, or capitals."""
    return " ".join(str(name).partition(",")[0].split()).lower()


def _lodgings(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    return _of_city(world.shared.lodgings, "city", given["city"]), world


def _attractions(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    return _of_city(world.shared.attractions, "City", given["city"]), world


def _restaurants(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    return _of_city(world.shared.restaurants, "City", given["city"]), world


def _of_city(rows: Rows, column: str, city: str) -> dict[str, Any]:
    found = [row for row in rows if city_key(row[column]) == city_key(city)]
    return _found(found, f"nothing is listed for {city[:60]!r}")


def _flights(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    origin, goal = city_key(given["origin_city"]), city_key(given["destination_city"])
    found = [
        row
        for row in world.shared.flights
        if city_key(row["OriginCityName"]) == origin
        and city_key(row["DestCityName"]) == goal
        and row["FlightDate"] == given["departure_date"]
    ]
    return _found(found, f"no flight is listed on {given['departure_date']}"), world


def _found(rows: list[Row], note: str) -> dict[str, Any]:
    return {"status": "success", "data": rows} | ({} if rows else {"note": note})


def _days(world: World, city: str) -> Mapping[str, Any]:
    """Return the weather of a city by date.

    Raises:
        ToolError: there is none.
    """
    for name, days in world.shared.weather.items():
        if city_key(name) == city_key(city):
            return days
    raise refusal(f"there is no weather for {city[:60]!r}; the cities are {', '.join(sorted(world.shared.weather))}")


def _shown(day: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in day.items() if name != "hour"}


def _today(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    day = _days(world, given["location"]).get(now.strftime(DATE))
    if day is None:
        raise refusal(f"there is no weather for {now.strftime(DATE)}")
    return {"status": "success", "data": _shown(day)}, world


def _future(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    days = _days(world, given["location"])
    first, last = parse_time(given["start_time"]), parse_time(given["end_time"])
    assert first is not None
    assert last is not None
    if last < first:
        raise value_error("end_time must not come before start_time")
    if (last - first).days > _MOST_DAYS:
        raise value_error(f"no more than {_MOST_DAYS} days can be asked for")
    dates = [(first + timedelta(days=place)).strftime(DATE) for place in range((last - first).days + 1)]
    found = [_shown(days[date]) for date in dates if date in days]
    absent = [date for date in dates if date not in days]
    if not found:
        raise refusal(f"there is no weather from {dates[0]} to {dates[-1]}")
    return {"status": "success", "data": found} | ({"note": f"no forecast for {absent[0]}"} if absent else {}), world


_CITY = (Param("city", "text", "The city's name."),)

SPECS = (
    ToolSpec("find_accommodations", "navigation", "List places to stay in a city.", _CITY, _lodgings),
    ToolSpec("find_attractions", "navigation", "List sights of a city.", _CITY, _attractions),
    ToolSpec("find_restaurants", "navigation", "List restaurants of a city.", _CITY, _restaurants),
    ToolSpec(
        "find_flight",
        "navigation",
        "List the flights between two cities on a day.",
        (
            Param("origin_city", "text", "Where the flight starts."),
            Param("destination_city", "text", "Where it lands."),
            Param("departure_date", "date", "The day, as YYYY-MM-DD."),
        ),
        _flights,
    ),
    ToolSpec(
        "get_today_weather",
        "",
        "Show today's weather in a city.",
        (Param("location", "text", "The city's name."),),
        _today,
    ),
    ToolSpec(
        "get_future_weather",
        "",
        "Show the forecast of a city for a range of days.",
        (
            Param("location", "text", "The city's name."),
            Param("start_time", "date", "First day, as YYYY-MM-DD."),
            Param("end_time", "date", "Last day, as YYYY-MM-DD."),
        ),
        _future,
    ),
)
