"""Checks for fifteen of ETAPP's fifty instructions, in our own words, for a user's checkout.

An instruction is known by its number and the hash of its words, so that a changed file gets no checks that do not fit.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from .calls import DATE, TIME
from .world import World

Checks = dict[str, Any]
_ADDRESS = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_RANGE = re.compile(r"(\d+)\s*%?\s*(?:~|-|–|to)\s*(\d+)\s*%")
_BRIGHTNESS = {"low": 1, "medium": 2, "high": 3}
_COLOURS = ("white-yellow", "yellow", "white")


def slots_of(preferences: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the checks look for, as far as a user's preferences say it."""
    home = _inner(preferences, "smart_home_devices", "SmartHomePreferences")
    texts = {
        "home.temperature": _text(home, "TemperatureAndHumidityPreferences", "PreferredTemperature"),
        "home.humidity": _text(home, "TemperatureAndHumidityPreferences", "PreferredHumidityLevel"),
        "bath.temperature": _text(home, "BathtubPreferences", "PreferredTemperature"),
        "bath.level": _text(home, "BathtubPreferences", "PreferredFillState"),
        "kettle.temperature": _text(home, "WaterBoilingPreferences", "PreferredBoilingTemperature"),
    }
    slots: dict[str, Any] = {
        name: float(found[0]) for name, text in texts.items() if (found := _NUMBER.search(text)) is not None
    }
    light = _text(home, "LightingPreferences", "PreferredLightColor").lower()
    colours = [colour for colour in _COLOURS if re.search(rf"(?<![\w-]){colour}(?![\w-])", light)]
    slots |= {"light.color": colours[0]} if colours else {}
    words = _text(home, "LightingPreferences", "PreferredBrightnessLevels").lower()
    levels = [level for word, level in _BRIGHTNESS.items() if word in words]
    slots |= {"light.brightness": levels} if levels else {}
    volume = _RANGE.search(_text(preferences, "music", "UsagePatterns", "PreferredVolumeLevel"))
    return slots | ({"music.low": int(volume[1]), "music.high": int(volume[2])} if volume is not None else {})


def _inner(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _text(value: Any, *names: str) -> str:
    found = _inner(value, *names)
    return found if isinstance(found, str) else ""


def checks_of(number: int, query: str, now: datetime, world: World) -> Checks | None:
    """Return the checks of an instruction for a user; None where only a judge can tell."""
    known = _KNOWN.get(number)
    if known is None or hashlib.sha256(query.encode()).hexdigest()[:16] != known[0]:
        return None
    address = _ADDRESS.search(query)
    return known[1](now, world, address[0] if address is not None else "")


def _need(tool: str, **arguments: Any) -> dict[str, Any]:
    return {"tool": tool, "args": arguments}


def _slot(name: str, **more: Any) -> dict[str, Any]:
    return {"slot": name, **more}


def _light(**arguments: Any) -> dict[str, Any]:
    return _need("control_light_in_home", action="on", **arguments)


def _climate(**arguments: Any) -> dict[str, Any]:
    return _need("set_temperature_and_humidity_in_home", **arguments)


def _mail(address: str) -> dict[str, Any]:
    return _need("send_email", receiver=[address])


def _require(*patterns: dict[str, Any], **more: Any) -> Callable[[datetime, World, str], Checks]:
    return lambda now, world, address: {"require": list(patterns), **more}


def _break(now: datetime, world: World, address: str) -> Checks:
    until = now + timedelta(hours=1)
    return {"require": [_need("add_alarm", alarm_time={"between": [now.strftime(TIME), until.strftime(TIME)]})]}


def _cancel(now: datetime, world: World, address: str) -> Checks:
    today = [event["id"] for event in world.events if str(event["start_time"]).startswith(now.strftime(DATE))]
    deleted = [_need("delete_event_in_calendar", event_id=key) for key in today]
    others = _need("delete_event_in_calendar", event_id={"not": {"any": today}})
    return {"require": [*deleted, _mail(address)], "forbid": [others]}


def _return(now: datetime, world: World, address: str) -> Checks:
    evening = {"between": [f"{now.strftime(DATE)} 20:00:00", f"{now.strftime(DATE)} 23:59:59"]}
    return {"require": [_need("add_event_in_calendar", start_time=evening), _need("add_product_to_cart")]}


def _to_address(now: datetime, world: World, address: str) -> Checks:
    return {"require": [_mail(address)]}


_VOLUME = {"between": [_slot("music.low"), _slot("music.high")]}
_KNOWN: Mapping[int, tuple[str, Callable[[datetime, World, str], Checks]]] = {
    0: ("e4f40d2a00e2fe64", _require(_need("play_music", volume_level=_VOLUME))),
    6: (
        "8f69a2779a9bd319",
        _require(
            _need("boil_water_in_home", temperature=_slot("kettle.temperature")),
            _need(
                "control_bathtub_in_home",
                fill=True,
                temperature=_slot("bath.temperature"),
                water_level=_slot("bath.level"),
            ),
        ),
    ),
    8: (
        "9379e38ea72d44e0",
        _require(_light(color=_slot("light.color")), _climate(temperature=_slot("home.temperature"))),
    ),
    10: ("1dde9aae950e0805", _break),
    11: ("2b4ebafe9817e2f0", _cancel),
    12: ("0249195c0230163d", _to_address),
    15: ("e76fdb37377ad8cf", _return),
    21: (
        "f0da595c130d5866",
        _require(_need("play_music", volume_level={"between": [0, _slot("music.high")]}), _climate()),
    ),
    22: (
        "eb56102641d90aeb",
        _require(_climate(temperature=_slot("home.temperature")), _light(location="living room")),
    ),
    30: ("1aff5f9aa06698a3", _require(_need("add_product_to_cart"))),
    37: (
        "8daef6b897676f79",
        _require(
            _need("control_bathtub_in_home", fill=True, temperature=_slot("bath.temperature", plus=[0.1, 3])),
            _climate(),
        ),
    ),
    38: ("1c26c44a26f4a853", _to_address),
    44: (
        "3588c5e924052c8d",
        _require(_need("control_curtains_in_home", open=False), _light(brightness=1), _need("add_product_to_cart")),
    ),
    45: (
        "658fa09463c756c9",
        _require(_light(location="living room"), _need("play_music"), _climate(temperature={"between": [21, 23]})),
    ),
    47: (
        "47936ae1a20b7548",
        _require(_light(brightness=1), _need("play_music", volume_level={"between": [0, _slot("music.low")]})),
    ),
}
"""By number: the first digits of the query's SHA-256, and what makes the checks of (time, world, address in it)."""
