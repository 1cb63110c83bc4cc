"""What the home can do."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .calls import Param, ToolSpec, parse_time, refusal
from .world import ROOMS, World

COLOURS = ("yellow", "white", "white-yellow")
Arguments = Mapping[str, Any]


def _climate(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    told = [f"temperature is set to {given['temperature']} °C"] if given["temperature"] is not None else []
    told += [f"humidity is set to {given['humidity']} %"] if given["humidity"] is not None else []
    if not told:
        raise refusal("neither temperature nor humidity is given; nothing is set")
    values = {name: value for name, value in given.items() if value is not None}
    message = " and the ".join(told)
    return {"status": "success", "message": f"The {message}."}, world.changed(home={**world.home, **values})


def _reading(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    moment = parse_time(given["at_time"])
    hours = world.shared.weather.get(world.city, {}).get(given["at_time"][:10], {}).get("hour", ())
    past = [row for row in hours if (at := parse_time(row["time"])) and moment and at <= moment]
    baseline = {"temperature": past[-1]["temp_c"] + 2, "humidity": past[-1]["humidity"] + 3} if past else {}
    values = {name: world.home[name] if world.home[name] is not None else baseline.get(name) for name in _CLIMATE}
    if None in values.values():
        raise refusal(f"there is no reading for {given['at_time']}")
    return {"status": "success", "data": {"at_time": given["at_time"], **values}}, world


_CLIMATE = ("temperature", "humidity")


def _light(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    is_on = given["action"] == "on"
    state = {
        "on": is_on,
        "brightness": given["brightness"] if is_on else None,
        "color": given["color"] if is_on else None,
    }
    rooms = ROOMS if given["location"] == "residence" else (given["location"],)
    lights = {**world.home["lights"], **dict.fromkeys(rooms, state)}
    how = f" with brightness {given['brightness']} and colour {given['color']}" if is_on else ""
    told = {"status": "success", "message": f"The light in the {given['location']} is {given['action']}{how}."}
    return told, world.changed(home={**world.home, "lights": lights})


def _curtains(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    state = "open" if given["open"] else "closed"
    return {"status": "success", "message": f"The curtains are {state}."}, world.changed(
        home={**world.home, "curtains": state}
    )


def _bathtub(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    filled = given["fill"]
    state = {
        "filled": filled,
        "water_level": given["water_level"] if filled else None,
        "temperature": given["temperature"] if filled else None,
        "keep_temperature": given["keep_temperature"] and filled,
    }
    told = {"status": "success", "message": "The bathtub is filled." if filled else "The bathtub is drained."}
    return told, world.changed(home={**world.home, "bathtub": state})


def _kettle(world: World, now: datetime, given: Arguments) -> tuple[Any, World]:
    kept = " and is kept there" if given["keep_temperature"] else ""
    told = {"status": "success", "message": f"The water is heated to {given['temperature']} °C{kept}."}
    return told, world.changed(home={**world.home, "kettle": dict(given)})


SPECS = (
    ToolSpec(
        "set_temperature_and_humidity_in_home",
        "smart_home_devices",
        "Set the home's temperature, its humidity, or both.",
        (
            Param("temperature", "number", "Degrees Celsius, 5 to 35.", needed=False, low=5, high=35),
            Param("humidity", "number", "Per cent.", needed=False, low=0, high=100),
        ),
        _climate,
        mutates=True,
    ),
    ToolSpec(
        "get_home_temperature_and_humidity",
        "smart_home_devices",
        "Read the home's temperature and humidity.",
        (Param("at_time", "time", "For which time, as YYYY-MM-DD HH:MM:SS."),),
        _reading,
    ),
    ToolSpec(
        "control_light_in_home",
        "smart_home_devices",
        "Switch a light on or off.",
        (
            Param("action", "choice", "on or off.", choices=("on", "off")),
            Param("location", "choice", "Which room; residence is all of them.", choices=ROOMS),
            Param("brightness", "integer", "1 (dim) to 3 (bright).", needed=False, default=1, low=1, high=3),
            Param("color", "choice", "Its colour.", needed=False, default="white", choices=COLOURS),
        ),
        _light,
        mutates=True,
    ),
    ToolSpec(
        "control_curtains_in_home",
        "smart_home_devices",
        "Open or close the curtains.",
        (Param("open", "flag", '"True" opens them, "False" closes them.'),),
        _curtains,
        mutates=True,
    ),
    ToolSpec(
        "control_bathtub_in_home",
        "smart_home_devices",
        "Fill or drain the bathtub.",
        (
            Param("fill", "flag", '"True" fills it, "False" drains it.'),
            Param("water_level", "number", "Per cent of its height.", needed=False, low=0, high=100),
            Param("temperature", "number", "Of the water, in degrees Celsius.", needed=False, low=20, high=45),
            Param("keep_temperature", "flag", '"True" keeps the water warm.', needed=False, default=False),
        ),
        _bathtub,
        mutates=True,
    ),
    ToolSpec(
        "boil_water_in_home",
        "smart_home_devices",
        "Heat water in the kettle.",
        (
            Param("temperature", "number", "Degrees Celsius, up to 100.", low=30, high=100),
            Param("keep_temperature", "flag", '"True" keeps the water warm.', needed=False, default=False),
        ),
        _kettle,
        mutates=True,
    ),
)
