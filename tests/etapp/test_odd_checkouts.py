"""Odd contents in a checkout: a line of ours, or a world in which every tool answers."""

from __future__ import annotations

import json
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etapp.acting import saying
from etapp.small_checkout import DAY, INSTRUCTION, complete, make, put
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.etapp.cases import chosen, open_source
from llamafactory_ext.etapp.checking import read_acted, scores_of
from llamafactory_ext.etapp.checkout import INSTRUCTIONS, OPTIONAL, PROFILES
from llamafactory_ext.etapp.prompts import opening
from llamafactory_ext.etapp.reference import ReferenceSandbox
from llamafactory_ext.etapp.reference_tools import Instances
from llamafactory_ext.etapp.registry import ALL
from llamafactory_ext.etapp.run import RunOptions, run
from llamafactory_ext.etapp.sandbox import Sandbox
from llamafactory_ext.toolcalls import ToolCall
from sampling import ALL as ALL_VALUES

pytestmark = pytest.mark.fast


WEATHER, NEWS = "database/Weather/weather_new.pkl", "database/Web_Browsing/news_data.pkl"
USER = "Ann_Gray"
GOOD: dict[str, dict[str, Any]] = {
    "add_event_in_calendar": {
        "title": "a",
        "description": "b",
        "start_time": f"{DAY} 12:00:00",
        "end_time": f"{DAY} 13:00:00",
    },
    "view_events_in_calendar_by_providing_time_range": {"start_time": DAY, "end_time": DAY},
    "delete_event_in_calendar": {"event_id": 1},
    "add_alarm": {"alarm_time": f"{DAY} 20:00:00", "message": "m"},
    "send_email": {"receiver": "a@b.co", "subject": "s", "content": "c"},
    "search_email_by_sender_and_receiver": {"address": "a@b.co"},
    "search_email_by_content": {"query": "some words"},
    "get_recent_health_and_mood_summary": {"time": "2024-09-01 00:00:00"},
    "get_user_recent_workout_records": {"time": "2024-09-01 00:00:00"},
    "play_music": {"music_name": "so", "volume_level": 3},
    "find_accommodations": {"city": "Boston"},
    "find_attractions": {"city": "Boston"},
    "find_restaurants": {"city": "Boston"},
    "find_flight": {"origin_city": "Boston", "destination_city": "New York", "departure_date": DAY},
    "add_product_to_cart": {"product_id": "A1", "product_name": "n", "quantity": 1},
    "search_products_in_shopping_manager": {"query": "tea"},
    "get_home_temperature_and_humidity": {"at_time": f"{DAY} 12:00:00"},
    "set_temperature_and_humidity_in_home": {"temperature": 20},
    "control_light_in_home": {"action": "on", "location": "kitchen"},
    "control_curtains_in_home": {"open": "True"},
    "control_bathtub_in_home": {"fill": "True"},
    "boil_water_in_home": {"temperature": 90},
    "get_today_weather": {"location": "Boston"},
    "get_future_weather": {"location": "Boston", "start_time": DAY, "end_time": DAY},
    "search_news_by_category": {"category": "hot"},
    "search_from_wikipedia": {"query": "tea"},
    "search_tools": {"keywords": "mail"},
    "get_tool_doc": {"tools_name": "play_music"},
}


def answered(folder: Path) -> None:
    """Call every tool in both sandboxes and both settings; whatever a checkout holds, each gives JSON or a text."""
    source = open_source(str(folder))
    for case in source.cases[:1]:
        world = source.worlds[case.user]
        for setting in ("given", "retrieval"):
            box = Sandbox(world, case.now, list(ALL), setting)  # type: ignore[arg-type]
            for name in ALL:
                json.loads(box.call(ToolCall(name, GOOD.get(name, {}))))
            other = ReferenceSandbox(Instances(world), case.now, list(ALL), setting)  # type: ignore[arg-type]
            for name in ALL:
                assert isinstance(other.call(ToolCall(name, GOOD.get(name, {}))), str)
            json.dumps(opening(world, case, setting, "react", box.tools()))  # type: ignore[arg-type]
        json.dumps([box.digest(), source.slots[case.user]])


def test_a_whole_clone_answers_everything(tmp_path: Path) -> None:
    folder = complete(make(tmp_path / "clone"))
    answered(folder)
    source = open_source(str(folder))
    box = Sandbox(source.worlds[USER], source.cases[0].now, list(ALL))
    told = {name: json.loads(box.call(ToolCall(name, GOOD.get(name, {})))) for name in ALL}
    assert [name for name, said in told.items() if "error" in said] == ["search_from_wikipedia"]


Spoil = Callable[[Path], object]
ODD_TABLES = (
    "a\n",
    "a,b\n1\n",
    "id\n1\n",
    "\n\n",
    "",
    '"',
    "a,a,a\n,,\n",
    "\x00",
    "id,title,start_time,end_time\n1,,,\n,x,y,z\n",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    1,
    "x",
    [],
    {},
    [[]],
    [1],
    [{}],
    {"a": 1},
    {"a": [1]},
    {"Boston": {DAY: {}}},
    [None],
)


def places(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_any_file_may_hold_anything(tmp_path: Path) -> None:
    """Each file of a clone, replaced by odd contents, ends in a line that names a file, or in a whole world."""
    dice, refused = random.Random(0), []
    whole = complete(make(tmp_path / "whole"))
    for name in places(whole):
        kinds: tuple[Any, ...] = ODD_TABLES if name.endswith(".csv") else VALUES
        for odd in dice.sample(kinds, len(kinds) if ALL_VALUES else 3):
            content = (whole / name).read_bytes()
            if name.endswith(".pkl"):
                (whole / name).write_bytes(pickle.dumps(odd))
            elif name.endswith(".csv"):
                (whole / name).write_text(odd)
            else:
                (whole / name).write_text(json.dumps(odd))
            try:
                answered(whole)
            except DataError as error:
                refused.append(error.message)
            (whole / name).write_bytes(content)
    assert len(refused) > 30
    assert all(str(whole) in message for message in refused), refused
    answered(whole)


def test_any_cell_may_hold_anything(tmp_path: Path) -> None:
    """Rows whose cells are of other kinds than the published ones: tools skip or show them."""
    whole = complete(make(tmp_path / "whole"))
    dice, refused = random.Random(1), []
    tables = [name for name in places(whole) if name.endswith(".csv")]
    for name in tables:
        content = (whole / name).read_text("utf-8")
        head, *_ = content.splitlines()
        for _ in range(8 if ALL_VALUES else 1):
            cells = [
                [dice.choice(("", "1", "1.5", "x", "True", "inf", "2024-13-99")) for _ in head.split(",")]
                for _ in "ab"
            ]
            (whole / name).write_text("\n".join([head, *(",".join(row) for row in cells)]) + "\n")
            try:
                answered(whole)
            except DataError as error:
                refused.append(error.message)
        (whole / name).write_text(content)
    assert all("is no number" in message for message in refused), refused


@pytest.mark.parametrize("name", INSTRUCTION)
@pytest.mark.parametrize("odd", [None, 7, "", [], {}, [1], [""], "x", ["x"], [["x"]], "0001-01-01 00:00:00"])
def test_any_field_of_an_instruction_may_hold_anything(name: str, odd: Any, tmp_path: Path) -> None:
    folder = make(tmp_path / "clone")
    put(folder / INSTRUCTIONS, [INSTRUCTION | {name: odd}])
    is_list, is_text = isinstance(INSTRUCTION[name], list), isinstance(odd, str) and bool(odd)
    if not (odd in ([], ["x"]) if is_list else is_text and name != "timestamp"):
        with pytest.raises(DataError, match="index 0: the instruction"):
            open_source(str(folder))
        return
    source = open_source(str(folder))
    said = lambda *_: saying([], "done")  # noqa: E731
    path = run(source, source.cases, said, {}, RunOptions(quiet=True), tmp_path / "a.jsonl")
    assert all(0 <= score <= 1 for one in read_acted(source, path)[1] for score in scores_of(one).values())


def test_no_tools_on_offer_have_no_recall(tmp_path: Path) -> None:
    folder = make(tmp_path / "clone")
    put(folder / INSTRUCTIONS, [INSTRUCTION | {"available_tools_name": []}])
    source = open_source(str(folder))
    for setting in ("given", "retrieval"):
        options = RunOptions(setting=setting, quiet=True)  # type: ignore[arg-type]
        path = run(source, source.cases, lambda *_: saying([], "done"), {}, options, tmp_path / f"{setting}.jsonl")
        assert not any(name.endswith("recall") for one in read_acted(source, path)[1] for name in scores_of(one))


def test_a_lone_user_has_no_published_subset(tmp_path: Path) -> None:
    folder = make(tmp_path / "clone")
    profiles = json.loads((folder / PROFILES).read_text())
    put(folder / PROFILES, {"Ann Gray": profiles["Ann Gray"]})
    with pytest.raises(OptionError, match="it draws two users"):
        chosen(open_source(str(folder)), "reasoning")


def test_two_users_of_one_key(tmp_path: Path) -> None:
    folder = make(tmp_path / "clone")
    profiles = json.loads((folder / PROFILES).read_text())
    put(folder / PROFILES, profiles | {"Ann_Gray": profiles["Ann Gray"]})
    with pytest.raises(DataError, match="is none of a user"):
        open_source(str(folder))


def test_a_table_without_rows_has_its_columns_all_the_same(tmp_path: Path) -> None:
    """Any table of a clone: with the published columns it is empty, with others it is none."""
    whole = complete(make(tmp_path / "whole"))
    for name in (name for name in places(whole) if name.endswith(".csv")):
        content = (whole / name).read_text("utf-8")
        (whole / name).write_text(content.splitlines()[0] + "\n")
        answered(whole)
        for odd in ("a,b\n", "id\n", content.splitlines()[0].replace("t", "T") + "\n"):
            (whole / name).write_text(odd)
            with pytest.raises(DataError, match=rf"{name} has no column .*; get the file again"):
                open_source(str(whole))
        (whole / name).write_text(content)


@pytest.mark.parametrize("what", ["pipe", "folder", "long"])
@pytest.mark.parametrize("name", [INSTRUCTIONS, PROFILES, WEATHER, NEWS, str(OPTIONAL["find_accommodations"]), "list"])
def test_what_is_no_ordinary_file_is_never_read(what: str, name: str, tmp_path: Path) -> None:
    folder = make(tmp_path / "clone")
    path = folder / name
    if name == "list":
        path = tmp_path / "list"
    else:
        path.unlink()
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(65 << 20)
    if name == "list":
        source = open_source(str(folder))
        with pytest.raises(OptionError, match="--cases: "):
            chosen(source, str(path))
    elif what == "long" or (what, name) not in (("folder", str(OPTIONAL["find_accommodations"])),):
        try:
            found = open_source(str(folder))
        except DataError:
            return
        assert "find_accommodations" in found.absent  # a tool whose table is no file has none
