"""A user's own checkout: read without running anything, partial ones told, hostile ones refused in a line."""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etapp.acting import saying
from etapp.small_checkout import DAY, complete, make
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.etapp.cases import open_source
from llamafactory_ext.etapp.checkout import INSTRUCTIONS, PROFILES
from llamafactory_ext.etapp.overlay import slots_of
from llamafactory_ext.etapp.pickles import read_plain
from llamafactory_ext.etapp.reference import observe
from llamafactory_ext.etapp.reference_tools import Instances
from llamafactory_ext.etapp.run import RunOptions, run
from llamafactory_ext.etapp.sandbox import Sandbox
from llamafactory_ext.etapp.tables import parse_table
from llamafactory_ext.metrics.predictions import read_predictions
from llamafactory_ext.toolcalls import ToolCall

pytestmark = pytest.mark.fast


def test_a_partial_checkout_says_what_is_missing_and_what_it_costs(tmp_path: Path) -> None:
    source = open_source(str(make(tmp_path / "clone")))
    assert set(source.worlds) == {"Ann_Gray", "Bob_O'Neil-Fox_Jr"}
    assert len(source.cases) == 6
    notes = "\n".join(source.notes)
    assert "play_music has no data here: database/Music/music_all.csv is missing" in notes
    assert "find_accommodations" not in notes
    assert "4 of 6 cases need a tool without data" in notes
    assert [bool(case.degraded) for case in source.cases[:3]] == [False, True, True]
    world = source.worlds["Ann_Gray"]
    assert len(world.shared.lodgings) == 1  # rows with gaps are dropped, as published
    box = Sandbox(world, source.cases[1].now, ["play_music", "view_today_events_in_calendar"])
    assert "no data" in box.call(ToolCall("play_music", {"music_name": "So", "volume_level": 3}))
    assert '"reminder": null' in box.call(ToolCall("view_today_events_in_calendar", {}))


TRIP = {"origin_city": "Boston", "destination_city": "New York", "departure_date": DAY}


@pytest.mark.parametrize(
    ("name", "arguments", "strict", "published"),
    [
        ("find_restaurants", {"city": "Boston"}, ["Diner"], ["Diner"]),
        ("find_restaurants", {"city": "boston, MA"}, ["Diner"], []),
        ("find_flight", TRIP, ["F1"], ["F1"]),
        ("find_flight", TRIP | {"departure_date": "2024-09-09"}, [], []),
        ("search_products_in_shopping_manager", {"query": "Soup"}, ["A2"], ["A2", "A0", "A1"]),
        ("search_products_in_shopping_manager", {"query": "nothing"}, [], ["A0", "A1", "A2"]),
    ],
)
def test_tables_that_the_snapshot_lacks(
    name: str, arguments: dict[str, Any], strict: list[str], published: list[str], tmp_path: Path
) -> None:
    source = open_source(str(complete(make(tmp_path / "clone"))))
    assert [note for note in source.notes if "has no data" in note] == [
        "search_from_wikipedia has no data here: give `etapp run` --wikipedia FILE.jsonl"
    ]
    world = source.worlds["Ann_Gray"]
    told = json.loads(Sandbox(world, source.cases[0].now, [name]).call(ToolCall(name, arguments)))
    assert [_key(row) for row in told["data"]] == strict
    told = json.loads(observe(Instances(world), f"{DAY} 12:00:00", name, arguments)[0])
    assert [_key(row) for row in told.get("data", told.get("products"))] == published


def _key(row: dict[str, Any]) -> str:
    return str(row.get("Name") or row.get("Flight Number") or row.get("asin"))


def test_the_song_that_most_know_plays(tmp_path: Path) -> None:
    source = open_source(str(complete(make(tmp_path / "clone"))))
    call = {"music_name": "so", "volume_level": 3}
    told = observe(Instances(source.worlds["Ann_Gray"]), f"{DAY} 12:00:00", "play_music", call)[0]
    assert json.loads(told)["message"] == "Playing: So Far at a volume level: 3"
    box = Sandbox(source.worlds["Ann_Gray"], source.cases[0].now, ["play_music"])
    assert json.loads(box.call(ToolCall("play_music", call)))["status"] == "success"


def test_an_encyclopedia_of_the_users(tmp_path: Path) -> None:
    folder = make(tmp_path / "clone")
    file = tmp_path / "wiki.jsonl"
    file.write_text(json.dumps({"title": "Tea", "text": "Leaves in water."}))
    source = open_source(str(folder), str(file))
    assert not any("search_from_wikipedia" in note for note in source.notes)
    box = Sandbox(source.worlds["Ann_Gray"], source.cases[2].now, ["search_from_wikipedia"])
    assert "Leaves in water" in box.call(ToolCall("search_from_wikipedia", {"query": "tea"}))
    with pytest.raises(OptionError, match="goes with a checkout"):
        open_source("mini", str(file))
    file.write_text("{")
    with pytest.raises(DataError, match="--wikipedia"):
        open_source(str(folder), str(file))


def test_cases_without_checks_run_all_the_same(tmp_path: Path) -> None:
    source = open_source(str(make(tmp_path / "clone")))
    ask = lambda *_: saying([("view_today_events_in_calendar", {})], "done")  # noqa: E731
    path = run(source, source.cases, ask, {}, RunOptions(quiet=True), tmp_path / "a.jsonl")
    assert len(read_predictions(path).predictions) == 6


ALARMS = "database/Calendar/alarms/alarms_Ann_Gray.csv"
WEATHER = "database/Weather/weather_new.pkl"
Spoil = Callable[[Path], object]


def linked(folder: Path) -> None:
    (folder / ALARMS).unlink()
    (folder / ALARMS).symlink_to("/etc/hostname")


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda folder: (folder / PROFILES).unlink(), "no checkout of ETAPP"),
        (linked, "is a link"),
        (lambda folder: (folder / PROFILES).write_text(json.dumps({"../../etc/x": {}})), "is none of a user"),
        (lambda folder: (folder / ALARMS).unlink(), "complete the checkout"),
        (lambda folder: (folder / PROFILES).write_text(json.dumps({"Ann Gray": {}})), "has no Location"),
        (lambda folder: (folder / INSTRUCTIONS).write_text(json.dumps([{"timestamp": "soon"}])), "is malformed"),
        (
            lambda folder: (folder / INSTRUCTIONS).write_text(json.dumps([{}])),
            "index 0: the instruction has no '.*'; get the file again",
        ),
        (lambda folder: (folder / INSTRUCTIONS).write_text('{"a": 1}'), "is no list of instructions; get"),
        (lambda folder: (folder / INSTRUCTIONS).write_text("{"), "is no JSON"),
        (lambda folder: (folder / INSTRUCTIONS).write_text("[" * 100_000), "is no JSON"),
        (lambda folder: (folder / WEATHER).write_bytes(pickle.dumps(os.system)), "more than plain values"),
        (lambda folder: (folder / WEATHER).write_bytes(b"\x80\x04N"), "no pickle that can be read"),
        (lambda folder: (folder / ALARMS).write_text("a,b,c\n1,2,3,4\n"), "cells in 3 columns"),
        (lambda folder: (folder / ALARMS).write_bytes(b"\xff\xfe\n"), "cannot be read"),
    ],
)
def test_bad_checkouts(tmp_path: Path, spoil: Spoil, match: str) -> None:
    folder = make(tmp_path / "clone")
    spoil(folder)
    with pytest.raises(DataError, match=match):
        open_source(str(folder))


class _Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("evil",)


def test_no_pickle_runs_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": [_Evil()]}, protocol))
        with pytest.raises(DataError, match="more than plain values"):
            read_plain(tmp_path / "x.pkl")
        value = {"a": [1, 2.5, None, True, "é", (3, 10**30)], "b": {}}
        (tmp_path / "y.pkl").write_bytes(pickle.dumps(value, protocol))
        assert read_plain(tmp_path / "y.pkl") == value
    assert not (tmp_path / "evil").exists()


def test_preferences_become_slots() -> None:
    home = {
        "BathtubPreferences": {"PreferredFillState": "fill to 60% of it", "PreferredTemperature": "37.5°C"},
        "WaterBoilingPreferences": {"PreferredBoilingTemperature": "85 °C"},
        "LightingPreferences": {"PreferredBrightnessLevels": "Medium, high", "PreferredLightColor": "White-yellow"},
        "TemperatureAndHumidityPreferences": {"PreferredTemperature": "21°C", "PreferredHumidityLevel": "45%"},
    }
    music = {"UsagePatterns": {"PreferredVolumeLevel": "mostly 20%~35%, on weekends 60%~70%"}}
    assert slots_of({"smart_home_devices": {"SmartHomePreferences": home}, "music": music}) == {
        "home.temperature": 21,
        "home.humidity": 45,
        "bath.temperature": 37.5,
        "bath.level": 60,
        "kettle.temperature": 85,
        "light.color": "white-yellow",
        "light.brightness": [2, 3],
        "music.low": 20,
        "music.high": 35,
    }
    assert slots_of({"music": 3}) == {}


def test_changed_instructions_have_no_checks(tmp_path: Path) -> None:
    source = open_source(str(make(tmp_path / "clone")))
    assert all(case.checks is None for case in source.cases)


CELLS = ("", "NA", "None", "null", "1", "-2", "007", "1.5", "1e3", ".5", "True", "False", "x", " y ", "a,b", 'q"q')
CELLS += ("2024-09-01", "two\nlines", "inf", "12345678901234567", "é", "=1+1")


def test_tables_are_read_as_pandas_reads_them() -> None:
    pandas = pytest.importorskip("pandas")
    dice = random.Random(0)
    for _ in range(300):
        width, height = dice.randint(1, 4), dice.randint(1, 6)
        pools = [dice.sample(CELLS, dice.randint(1, 4)) for _ in range(width)]
        lines = [[f"c{n}" for n in range(width)], *([dice.choice(pool) for pool in pools] for _ in range(height))]
        quoted = [",".join('"' + cell.replace('"', '""') + '"' for cell in line) for line in lines]
        text = "\n".join(quoted) + "\n"
        wanted = pandas.read_csv(io.StringIO(text)).to_dict("records")
        found = parse_table(text)
        assert json.dumps(found) == json.dumps(wanted), text


def test_gaps_are_nan() -> None:
    (row,) = parse_table("a,b\r\n\r\n,3\r\n")
    assert math.isnan(row["a"])
    assert row["b"] == 3
