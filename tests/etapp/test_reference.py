"""The published sandbox: a user's tools go on from case to case, also behind a kill; and nothing raises or hangs."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etapp.acting import saying
from etapp.test_sandbox import JSON, PARAMS
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.etapp.cases import Case
from llamafactory_ext.etapp.checking import read_acted
from llamafactory_ext.etapp.mini import load
from llamafactory_ext.etapp.reference import ReferenceSandbox, observe
from llamafactory_ext.etapp.reference_tools import Instances
from llamafactory_ext.etapp.registry import ALL
from llamafactory_ext.etapp.run import RunOptions, run
from llamafactory_ext.metrics.predictions import read_predictions
from llamafactory_ext.toolcalls import ToolCall
from sampling import ALL as EVERYTHING

pytestmark = pytest.mark.fast
SOURCE = load()
WORLD = next(iter(SOURCE.worlds.values()))
NOW = "2025-03-04 12:00:00"
TEA = {
    "title": "Tea",
    "description": "Tea",
    "start_time": "2025-03-06 10:00:00",
    "end_time": "2025-03-06 11:00:00",
}


def told(own: Instances, name: str, /, **arguments: Any) -> str:
    return observe(own, NOW, name, arguments)[0]


def test_the_published_faults() -> None:
    own = Instances(WORLD)
    assert "success" in told(own, "add_event_in_calendar", **TEA)
    # B1: no view has it; B18: the conflict has a key of its own; B5: the last day is missed.
    days = {"start_time": "2025-03-06", "end_time": "2025-03-07"}
    assert json.loads(told(own, "view_events_in_calendar_by_providing_time_range", **days))["data"] == []
    assert "error message" in told(own, "add_event_in_calendar", **TEA)
    days = {"start_time": "2025-03-04", "end_time": "2025-03-05"}
    found = json.loads(told(own, "view_events_in_calendar_by_providing_time_range", **days))["data"]
    assert [event["id"] for event in found] == [1, 2, 3, 4, 5]
    assert "None" in told(own, "set_temperature_and_humidity_in_home", humidity=40)  # B10
    assert told(own, "control_curtains_in_home", open=True) == "'bool' object has no attribute 'capitalize'"  # B11
    assert "-3 of p" in told(own, "add_product_to_cart", product_id="p", product_name="n", quantity=-3)  # B12
    assert told(own, "bake_bread") == "invalid tool name bake_bread."
    assert told(own, "add_alarm", message="m") == (
        "Calendar.add_alarm() missing 1 required positional argument: 'alarm_time'"
    )
    assert told(own, "view_today_alarms", x=1) == (
        "Calendar.view_today_alarms() got an unexpected keyword argument 'x'"
    )


def test_a_pattern_that_could_take_for_ever_is_a_text() -> None:
    own = Instances(WORLD)
    started = time.monotonic()
    assert told(own, "search_email_by_sender_and_receiver", address="(a+)+$")
    assert told(own, "search_email_by_sender_and_receiver", address="a" * 300)
    assert own.literal == 2
    assert told(own, "search_email_by_sender_and_receiver", address="(").startswith("missing ), unterminated")
    assert time.monotonic() - started < 60


def agent(case: Case, setting: Any, strategy: Any) -> Any:
    """Every case puts the same event into the calendar: only a user's first one can."""
    return saying([("add_event_in_calendar", TEA)], "done")


def statuses(path: Path) -> dict[str, str]:
    found = {}
    for one in read_predictions(path).predictions:
        message = next(message for message in one.messages or () if message["role"] == "tool")
        found[one.id] = json.loads(message["content"])["status"]
    return found


def go(path: Path, mode: str, cases: Any = SOURCE.cases, ask: Any = agent) -> Path:
    return run(SOURCE, cases, ask, {}, RunOptions(sandbox=mode, quiet=True, concurrency=3), path)


FIRST = {case.id for case in SOURCE.cases if case.number == 0}


def test_the_order_matters_here_and_not_in_the_strict_sandbox(tmp_path: Path) -> None:
    found = statuses(go(tmp_path / "a.jsonl", "reference"))
    assert {key for key, status in found.items() if status == "success"} == FIRST
    found = statuses(go(tmp_path / "b.jsonl", "reference", SOURCE.cases[::-1]))
    assert {key[-2:] for key, status in found.items() if status == "success"} == {"11"}


def test_kills_keep_the_state_of_a_users_tools(tmp_path: Path) -> None:
    whole = statuses(go(tmp_path / "whole.jsonl", "reference"))
    path, dice = tmp_path / "killed.jsonl", random.Random(0)
    for _ in range(50 if EVERYTHING else 5):
        child = os.fork()
        if child == 0:
            go(path, "reference")
            os._exit(0)
        time.sleep(dice.random() * 0.3)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert statuses(go(path, "reference")) == whole
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) == len({json.loads(line)["id"] for line in lines}) == 48


def test_behind_an_error_a_users_cases_wait(tmp_path: Path) -> None:
    broken = SOURCE.cases[2].id

    def ask(case: Case, setting: Any, strategy: Any) -> Any:
        def fails(*_: Any) -> Any:
            raise DataError("refused")

        return fails if case.id == broken else agent(case, setting, strategy)

    with pytest.raises(DataError, match=f"1 cases had errors, the first {broken}"):
        go(tmp_path / "a.jsonl", "reference", ask=ask)
    assert len(statuses(tmp_path / "a.jsonl")) == 2 + 36
    assert {key for key, s in statuses(go(tmp_path / "a.jsonl", "reference")).items() if s == "success"} == FIRST


MARA = [case for case in SOURCE.cases if case.user == SOURCE.cases[0].user]


@pytest.mark.parametrize(
    ("before", "dropped", "is_gone_on_with"),
    [
        (4, (), True),
        (4, (3,), True),
        (4, (2, 3), True),
        (4, (0, 1, 2, 3), True),
        (4, (0,), False),
        (4, (2,), False),
        (12, (11,), True),
        (12, (5,), False),
    ],
)
def test_a_user_s_tools_have_been_through_the_first_cases_alone(
    before: int, dropped: tuple[int, ...], is_gone_on_with: bool, tmp_path: Path
) -> None:
    """Of what was acted any number may be deleted from the end on; behind a gap a case saw another world."""
    whole, path = statuses(go(tmp_path / "whole.jsonl", "reference")), tmp_path / "a.jsonl"
    go(path, "reference", MARA[:before])
    lines = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join(line for place, line in enumerate(lines) if place not in dropped))
    content = path.read_bytes()
    if is_gone_on_with:
        assert statuses(go(path, "reference")) == whole
        return
    found, wanted = MARA[dropped[0] + 1].id, MARA[dropped[0]].id
    with pytest.raises(
        DataError, match=rf"{found} stands where {wanted} belongs.*Delete the {before - 1 - dropped[0]} "
    ):
        go(path, "reference")
    assert path.read_bytes() == content


@pytest.mark.parametrize("chosen", [(1,), (1, 3), (0, 2), (0, 1, 3)])
def test_a_case_list_may_grow_at_its_end_alone(chosen: tuple[int, ...], tmp_path: Path) -> None:
    path = go(tmp_path / "a.jsonl", "reference", [MARA[place] for place in chosen])
    for grown in (SOURCE.cases, MARA[:4]):
        with pytest.raises(DataError, match=r"stands where .* belongs.*give back the --cases of before"):
            go(path, "reference", grown)
    more = [MARA[place] for place in (*chosen, *range(chosen[-1] + 1, 8))]
    assert len(read_predictions(go(path, "reference", more)).predictions) == len(more)
    go(tmp_path / "b.jsonl", "strict", [MARA[place] for place in chosen])
    assert len(read_predictions(go(tmp_path / "b.jsonl", "strict")).predictions) == 48


def test_lines_in_another_order_are_refused(tmp_path: Path) -> None:
    path = go(tmp_path / "a.jsonl", "reference", MARA[:4])
    first, second, *others = path.read_text("utf-8").splitlines(keepends=True)
    path.write_text("".join([second, first, *others]))
    with pytest.raises(DataError, match="stands where"):
        go(path, "reference", MARA[:4])
    with pytest.raises(DataError, match=rf"{MARA[0].id} stands behind {MARA[1].id}.*Delete the lines of"):
        read_acted(SOURCE, path)
    for left in ([first, *others], [first, second], [second, *others]):
        path.write_text("".join(left))
        assert len(read_acted(SOURCE, path)[1]) == len(left)


def test_a_file_whose_case_list_grew_in_an_earlier_version_gets_no_figure(tmp_path: Path) -> None:
    """There the later case was acted first; in the strict sandbox the order of lines says nothing."""
    for mode in ("reference", "strict"):
        later, whole = (go(tmp_path / f"{mode}{n}.jsonl", mode, MARA[n:2]) for n in (1, 0))
        first = next(
            one for one in whole.read_text("utf-8").splitlines(keepends=True) if f'"{MARA[0].id}"' in one[:60]
        )
        later.write_text(later.read_text("utf-8") + first)
        if mode == "strict":
            assert len(read_acted(SOURCE, later)[1]) == 2
            continue
        with pytest.raises(DataError, match="stands behind"):
            read_acted(SOURCE, later)


def test_every_trial_has_tools_of_its_own(tmp_path: Path) -> None:
    options = RunOptions(sandbox="reference", quiet=True, trials=2)
    path = run(SOURCE, MARA[:3], agent, {}, options, tmp_path / "a.jsonl")
    lines = [one for one in path.read_text("utf-8").splitlines(keepends=True) if f'"{MARA[0].id}@1"' not in one]
    path.write_text("".join(lines))
    with pytest.raises(DataError, match=rf"{MARA[1].id}@1 stands where {MARA[0].id}@1 belongs.*of trial 1"):
        run(SOURCE, MARA[:3], agent, {}, options, path)
    path.write_text("".join(one for one in lines if '@1"' not in one))
    assert len(statuses(run(SOURCE, MARA[:3], agent, {}, options, path))) == 6


def test_a_call_that_goes_otherwise_behind_the_cases_before_it_is_told(tmp_path: Path) -> None:
    """As in a file whose first case was acted last: the event of the second was the first."""
    path, other = go(tmp_path / "a.jsonl", "reference", MARA[:2]), tmp_path / "b.jsonl"
    go(other, "reference", MARA[1:2])
    path.write_text(path.read_text("utf-8").splitlines(keepends=True)[0] + other.read_text("utf-8"))
    with pytest.raises(DataError, match=rf"{MARA[1].id} is damaged \(call 1 has another result behind.*later cases"):
        go(path, "reference", MARA[:3])


def test_effects_are_written_as_in_the_strict_sandbox() -> None:
    box = ReferenceSandbox(Instances(WORLD), datetime(2025, 3, 4, 12), ())
    box.call(ToolCall("control_bathtub_in_home", {"fill": "true", "temperature": 38}))
    box.call(ToolCall("send_email", {"receiver": "a@b.co", "subject": "s", "content": "c"}))
    box.call(ToolCall("add_alarm", {"alarm_time": "whenever", "message": "m"}))
    effects = [call.effect["args"] for call in box.log if call.effect is not None]
    assert effects[0]["fill"] is True
    assert effects[1]["receiver"] == ["a@b.co"]
    assert effects[2] == {"alarm_time": "whenever", "message": "m"}


def test_any_tool_runs_and_documents_come_with_preferences() -> None:
    box = ReferenceSandbox(Instances(WORLD), datetime(2025, 3, 4, 12), (), "retrieval")
    assert "success" in box.call(ToolCall("view_today_alarms", {}))
    text = box.call(ToolCall("get_tool_doc", {"tools_name": ["add_alarm", "nothing"]}))
    assert "'add_alarm'" in text
    assert str([WORLD.preferences["calendar"]]) in text
    assert json.loads(box.call(ToolCall("search_tools", {"keywords": "an alarm"})))["output"]
    assert "is no text" in box.call(ToolCall("search_tools", {"keywords": 3}))
    with pytest.raises(OptionError, match="--faults"):
        RunOptions(sandbox="reference", faults=0.1)


@settings(max_examples=100_000 if EVERYTHING else 300, deadline=None, derandomize=True)
@given(
    name=st.sampled_from([*ALL, "nothing"]),
    arguments=st.dictionaries(st.sampled_from([*PARAMS, "self", "tool_name", "K"]), JSON, max_size=6),
    own=st.booleans(),
    values=st.lists(JSON, min_size=6, max_size=6),
)
def test_any_arguments_give_a_text(name: str, arguments: dict[str, Any], own: bool, values: list[Any]) -> None:
    if own and name in ALL:
        arguments = {param.name: value for param, value in zip(ALL[name].params, values, strict=False)}
    try:
        call = ToolCall(name, arguments)
    except DataError:
        return  # NaN, infinite or half a character: no JSON, so no call
    box = ReferenceSandbox(Instances(WORLD), datetime(2025, 3, 4, 12), list(ALL))
    assert isinstance(box.call(call), str)
    assert box.world is WORLD
