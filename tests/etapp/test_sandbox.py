"""The sandbox: what a tool changed every tool sees, a failed call changes nothing, errors have their category."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamafactory_ext.errors import DataError
from llamafactory_ext.etapp.mini import load
from llamafactory_ext.etapp.registry import ALL, SPECS
from llamafactory_ext.etapp.sandbox import LONGEST, Sandbox, as_text
from llamafactory_ext.etapp.world import STATE, World, diff
from llamafactory_ext.tl.feedback import feedback_error
from llamafactory_ext.toolcalls import ToolCall
from sampling import ALL as EVERYTHING

pytestmark = pytest.mark.fast
NOW = datetime(2025, 3, 4, 12)
WORLD: World = load().worlds["mara_lindqvist"]


def sandbox(**options: Any) -> Sandbox:
    return Sandbox(WORLD.fork(), NOW, list(SPECS), **options)


def told(box: Sandbox, name: str, /, **arguments: Any) -> Any:
    return json.loads(box.call(ToolCall(name, arguments)))


EVENT = {
    "title": "Tea",
    "description": "Tea",
    "start_time": "2025-03-06 10:00:00",
    "end_time": "2025-03-06 11:00:00",
}


def test_every_tool_sees_what_another_changed() -> None:
    box = sandbox()
    told(box, "add_event_in_calendar", **EVENT)
    days = {"start_time": "2025-03-06", "end_time": "2025-03-06"}
    (event,) = told(box, "view_events_in_calendar_by_providing_time_range", **days)["data"]
    assert event["title"] == "Tea"
    assert "taken" in told(box, "add_event_in_calendar", **EVENT)["error"]
    told(box, "delete_event_in_calendar", event_id=str(event["id"]))
    assert told(box, "view_events_in_calendar_by_providing_time_range", **days)["data"] == []
    told(box, "send_email", receiver="a@b.co", subject="Rhubarb", content="Rhubarb pie")
    assert told(box, "search_email_by_content", query="rhubarb")["data"][0]["receiver"] == "a@b.co"
    assert len(told(box, "search_email_by_sender_and_receiver", address="a@b.co")["data"]) == 1
    told(box, "set_temperature_and_humidity_in_home", temperature=17)
    reading = told(box, "get_home_temperature_and_humidity", at_time="2025-03-04 12:00:00")["data"]
    assert reading["temperature"] == 17
    assert reading["humidity"] > 0
    told(box, "add_alarm", alarm_time="2025-03-04 20:00", message="m")
    assert told(box, "view_today_alarms")["data"][-1]["alarm_time"] == "2025-03-04 20:00:00"
    told(box, "add_product_to_cart", product_id="MW1000", product_name="x", quantity=2)
    assert told(box, "view_cart_in_shopping_manager")["data"][-1]["quantity"] == 2


def test_a_range_has_its_last_day() -> None:
    box = sandbox()
    days = {"start_time": "2025-03-04", "end_time": "2025-03-05"}
    found = told(box, "view_events_in_calendar_by_providing_time_range", **days)["data"]
    assert [event["id"] for event in found] == [1, 2, 3, 4, 5, 6, 7]


def test_a_forecast_has_all_its_days_and_tells_where_it_ends() -> None:
    box = sandbox()
    found = told(box, "get_future_weather", location=" sundale, XX", start_time="2025-03-11", end_time="2025-03-14")
    assert [day["date"] for day in found["data"]] == ["2025-03-11", "2025-03-12"]
    assert "2025-03-13" in found["note"]


CALLS = [
    ("add_event_in_calendar", EVENT),
    ("delete_event_in_calendar", {"event_id": 1}),
    ("add_alarm", {"alarm_time": "2025-03-05 06:00:00", "message": "m"}),
    ("send_email", {"receiver": ["a@b.co"], "subject": "s", "content": "c"}),
    ("play_music", {"music_name": "Signal Path", "volume_level": 3}),
    ("add_product_to_cart", {"product_id": "MW1001", "product_name": "n", "quantity": 1}),
    ("set_temperature_and_humidity_in_home", {"humidity": 40}),
    ("control_light_in_home", {"action": "on", "location": "Kitchen"}),
    ("control_curtains_in_home", {"open": False}),
    ("control_bathtub_in_home", {"fill": "TRUE", "temperature": 38}),
    ("boil_water_in_home", {"temperature": "90"}),
]


@pytest.mark.parametrize(("name", "arguments"), CALLS)
def test_a_change_is_an_effect_and_leaves_the_source_as_it_was(name: str, arguments: dict[str, Any]) -> None:
    before = json.dumps([getattr(WORLD, part) for part in STATE])
    box = sandbox()
    box.call(ToolCall(name, arguments))
    (logged,) = box.log
    assert logged.failed is None
    assert logged.effect is not None
    assert logged.effect["tool"] == name
    assert logged.effect["args"].keys() == {param.name for param in SPECS[name].params}
    assert diff(box.start, box.world)
    assert json.dumps([getattr(WORLD, part) for part in STATE]) == before


def test_every_tool_that_changes_something_is_among_them() -> None:
    assert {name for name, _ in CALLS} == {name for name, spec in SPECS.items() if spec.mutates}


@pytest.mark.parametrize(
    ("name", "arguments", "category"),
    [
        ("bake_bread", {}, "Tool Hallucination"),
        ("search_tools", {"keywords": "x"}, "Tool Hallucination"),
        ("add_alarm", {"message": "m"}, "Parameter Missing"),
        ("view_today_alarms", {"day": 1}, "Parameter Hallucination"),
        ("view_today_alarms", {"tool_name": 1}, "Parameter Hallucination"),
        ("view_today_alarms", {"self": 1}, "Parameter Hallucination"),
        ("add_alarm", {"alarm_time": 5, "message": "m"}, "Tool Call Failure"),
        ("add_alarm", {"alarm_time": "whenever", "message": "m"}, "Tool Call Failure"),
        ("play_music", {"music_name": "Smoke", "volume_level": 900}, "Tool Call Failure"),
        ("add_product_to_cart", {"product_id": "p", "product_name": "n", "quantity": -3}, "Tool Call Failure"),
        ("boil_water_in_home", {"temperature": -5}, "Tool Call Failure"),
        ("control_light_in_home", {"action": "dim", "location": "kitchen"}, "Tool Call Failure"),
        ("control_curtains_in_home", {"open": "maybe"}, "Tool Call Failure"),
        ("send_email", {"receiver": "no", "subject": "s", "content": "c"}, "Tool Call Failure"),
        ("get_future_weather", {"location": "Sundale", "start_time": "2025-03-05", "end_time": "2025-03-04"}, None),
        ("delete_event_in_calendar", {"event_id": 99}, "Others"),
        ("play_music", {"music_name": "no such song", "volume_level": 3}, "Others"),
        ("get_today_weather", {"location": "Nowhere"}, "Others"),
        ("set_temperature_and_humidity_in_home", {}, "Others"),
    ],
)
def test_an_error_has_its_category_and_changes_nothing(name: str, arguments: dict[str, Any], category: Any) -> None:
    box = sandbox()
    text = box.call(ToolCall(name, arguments))
    (logged,) = box.log
    assert logged.failed == (category or "Tool Call Failure")
    assert feedback_error(text) == logged.failed
    assert logged.effect is None
    assert diff(box.start, box.world) == []


def test_faults_are_seeded_and_instability() -> None:
    boxes = [sandbox(faults=0.5, seed=3, name="a") for _ in range(2)]
    texts = [[box.call(ToolCall("view_today_alarms", {})) for _ in range(40)] for box in boxes]
    assert texts[0] == texts[1]
    failed = [text for text in texts[0] if "unavailable" in text]
    assert 5 < len(failed) < 35
    assert {feedback_error(text) for text in failed} == {"Tool Instability"}
    other = sandbox(faults=0.5, seed=3, name="b")
    assert texts[0] != [other.call(ToolCall("view_today_alarms", {})) for _ in range(40)]


def test_in_retrieval_a_tool_runs_once_it_was_found_or_explained() -> None:
    box = Sandbox(WORLD, NOW, (), "retrieval")
    assert [tool["function"]["name"] for tool in box.tools()] == ["search_tools", "get_tool_doc"]
    assert "invalid tool name" in told(box, "view_today_alarms")["error"]
    told(box, "get_tool_doc", tools_name="view_today_alarms")
    assert told(box, "view_today_alarms")["status"] == "success"
    names = told(box, "search_tools", keywords=["switch a light on", "today's alarms"])["data"]
    assert "control_light_in_home" in names
    assert set(names) < {tool["function"]["name"] for tool in box.tools()}
    shown = told(box, "get_tool_doc", tools_name=["control_light_in_home", "nothing"])
    assert shown["preferences"] == {"smart_home_devices": WORLD.preferences["smart_home_devices"]}
    assert shown["unknown"] == ["nothing"]


def test_long_results_lose_whole_records() -> None:
    rows = [{"n": place, "text": "x" * 100} for place in range(500)]
    text = as_text({"status": "success", "data": rows})
    found = json.loads(text)
    assert len(text) <= LONGEST
    assert found["data"] == rows[: len(found["data"])]
    assert found["truncated"] == 500 - len(found["data"])
    for one in ("\x00" * 9000, '"' * 9000, "é" * 9000):
        assert len(as_text({"status": "success", "data": one})) <= LONGEST
        json.loads(as_text({"status": "success", "data": [one]}))


def test_gaps_are_null() -> None:
    assert as_text({"data": [{"a": float("nan")}, float("inf")]}) == '{"data": [{"a": null}, null]}'


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["2025-03-04 10:00:00", "2025-03-04", "True", "Sundale", "a@b.co", "on", "kitchen", "1e400"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
PARAMS = sorted({param.name for spec in ALL.values() for param in spec.params})


@settings(max_examples=100_000 if EVERYTHING else 400, deadline=None, derandomize=True)
@given(
    name=st.sampled_from([*ALL, "nothing"]),
    arguments=st.dictionaries(st.sampled_from(PARAMS) | st.text(max_size=5), JSON, max_size=6),
    own=st.booleans(),
    values=st.lists(JSON, min_size=6, max_size=6),
)
def test_any_arguments_give_json_and_a_failed_call_changes_nothing(
    name: str, arguments: dict[str, Any], own: bool, values: list[Any]
) -> None:
    """Of a known tool half of the calls have its own parameters, with any values."""
    if own and name in ALL:
        arguments = {param.name: value for param, value in zip(ALL[name].params, values, strict=False)}
    box = sandbox()
    try:
        call = ToolCall(name, arguments)
    except DataError:
        return  # NaN, infinite or half a character: no JSON, so no call
    text = box.call(call)
    assert isinstance(json.loads(text), dict)
    assert len(text) <= LONGEST
    if box.log[0].failed is not None:
        assert diff(box.start, box.world) == []
        assert feedback_error(text) == box.log[0].failed
