"""Our reading of the published data gives what the published tools gave, byte for byte: their digests were recorded.

ETAPP_SOURCE names a checkout; nothing of it may be redistributed, so without one these tests are skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.etapp.calls import DATE, TIME
from llamafactory_ext.etapp.cases import Case, Source
from llamafactory_ext.etapp.checkout import Checkout
from llamafactory_ext.etapp.checks import Deeds, check
from llamafactory_ext.etapp.published_judge import published_prompter
from llamafactory_ext.etapp.reference import observe
from llamafactory_ext.etapp.reference_tools import Instances
from llamafactory_ext.etapp.wording import published
from llamafactory_ext.etapp.world import World

HERE = Path(__file__).parent
DIGESTS = json.loads((HERE / "parity.json").read_text())
CHECKOUT = os.environ.get("ETAPP_SOURCE", "")
NEWS = ("entertainment", "world", "business", "sport", "health", "science", "technology")


@pytest.fixture(scope="module")
def source() -> Source:
    if not CHECKOUT:
        pytest.skip("ETAPP_SOURCE names no checkout of hypasd-art/ETAPP, whose data may not be redistributed")
    return Checkout(Path(CHECKOUT)).source()


def arguments(name: str, case: Case, world: World) -> dict[str, Any]:
    day = lambda n: (case.now + timedelta(days=n)).strftime(DATE)  # noqa: E731
    since = {"time": "2024-09-01 00:00:00"}
    city = {"city": world.city}
    given: dict[str, dict[str, Any]] = {
        "view_events_in_calendar_by_providing_time_range": {"start_time": day(0), "end_time": day(2)},
        "search_email_by_content": {"query": case.query},
        "get_recent_health_and_mood_summary": since,
        "get_user_recent_workout_records": since,
        "find_accommodations": city,
        "find_attractions": city,
        "get_home_temperature_and_humidity": {"at_time": stamp(case)},
        "get_today_weather": {"location": world.city},
        "get_future_weather": {"location": world.city, "start_time": day(1), "end_time": day(3)},
        "search_news_by_category": {"category": NEWS[case.number % 7]},
    }
    if name == "search_email_by_sender_and_receiver":
        return {"address": world.preferences["email"]["CommonContacts"][0]["Email"]}
    return given.get(name, {})


def stamp(case: Case) -> str:
    return case.now.strftime(TIME)


@pytest.mark.parametrize("name", [name for name in DIGESTS if name != "commands" and " " not in name])
def test_reading_tools(source: Source, name: str) -> None:
    digest, failed = hashlib.sha256(), 0
    own = {user: Instances(world) for user, world in source.worlds.items()}
    for case in source.cases:
        given = arguments(name, case, source.worlds[case.user])
        told, _, category = observe(own[case.user], stamp(case), name, given)
        failed += category is not None
        digest.update(f"{case.user}\t{case.number}\t{told}\n".encode())
    assert failed == 0
    assert len(source.cases) == 800
    assert digest.hexdigest()[:16] == DIGESTS[name]


def commands() -> Iterator[tuple[str, dict[str, Any]]]:
    for line in (HERE / "commands.txt").read_text().splitlines():
        name, _, calls = line.partition(": ")
        for one in calls.split(" ; "):
            yield name, json.loads(one)


def test_commands(source: Source) -> None:
    digest, failed = hashlib.sha256(), 0
    for user, world in source.worlds.items():
        own = Instances(world)
        for place, (name, given) in enumerate(commands()):
            told, _, category = observe(own, "2024-09-06 16:30:00", name, given)
            failed += category is not None
            digest.update(f"{user}\t{place}\t{told}\n".encode())
    assert len(list(commands())) == 47
    assert failed == 192
    assert digest.hexdigest()[:16] == DIGESTS["commands"]


def test_counts(source: Source) -> None:
    cases = [case for case in source.cases if case.user == source.cases[0].user]
    assert (len(source.worlds), len(cases)) == (16, 50)
    assert sum(case.place == "Home" for case in cases) == 36
    assert sum(len(case.given) for case in cases) == 194
    assert (sum(len(case.personal) for case in cases), sum(len(case.proactive) for case in cases)) == (159, 160)
    assert sum(len(world.events) for world in source.worlds.values()) == 343
    assert sum(len(world.mails) for world in source.worlds.values()) == 1488


PROMPTS = [
    (setting, strategy, DIGESTS[f"prompts {setting} {strategy}"])
    for setting in ("given", "retrieval")
    for strategy in ("fc", "react", "e-react")
]


@pytest.mark.parametrize(("setting", "strategy", "wanted"), PROMPTS)
def test_prompts(source: Source, setting: Any, strategy: Any, wanted: str) -> None:
    digest, words = hashlib.sha256(), published(Checkout(Path(CHECKOUT)))
    for case in source.cases:
        messages = words.opening(source.worlds[case.user], case, setting, strategy, ())
        tools = words.tools(case, setting) if strategy == "fc" else None
        digest.update((json.dumps([messages, tools], ensure_ascii=False, sort_keys=True) + "\n").encode())
    assert digest.hexdigest()[:16] == wanted


def test_judge_prompts(source: Source) -> None:
    digest, make = hashlib.sha256(), published_prompter(Checkout(Path(CHECKOUT)))
    for case in source.cases:
        name = case.given[0]
        messages = [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "u"},
            {"role": "assistant", "content": "t", "tool_calls": [{"name": name, "arguments": "{}"}]},
            {"role": "tool", "content": "ok"},
            {"role": "assistant", "content": "k\ndone", "tool_calls": None},
        ]
        episode = {"strategy": "react", "calls": [{"name": name}]}
        text = make(source.worlds[case.user], case, episode, messages)
        digest.update(f"{text}\n".encode())
    assert digest.hexdigest()[:16] == DIGESTS["judge prompts"]


def test_checks_that_need_no_judge_can_be_met_by_every_user(source: Source) -> None:
    checked = [case for case in source.cases if case.checks is not None]
    assert len(checked) == 240
    for case in checked:
        world, slots = source.worlds[case.user], source.slots[case.user]
        effects = [met(pattern, slots) for pattern in case.checks["require"]]  # type: ignore[index]
        calls = [{"name": effect["tool"], "failed": None, "effect": effect} for effect in effects]
        assert check(case.checks or {}, slots, Deeds(calls, "done", [], world)).success, case.id
        assert not check(case.checks or {}, slots, Deeds([], "done", [], world)).success, case.id


def met(pattern: Any, slots: Any) -> Any:
    """An effect that a pattern asks for."""
    return {"tool": pattern["tool"], "args": {name: value(one, slots) for name, one in pattern["args"].items()}}


def value(wanted: Any, slots: Any) -> Any:
    if not isinstance(wanted, dict):
        return wanted
    if "between" in wanted:
        return value(wanted["between"][0], slots)
    found = slots[wanted["slot"]]
    found = found[0] if isinstance(found, list) else found
    return found + wanted["plus"][1] if "plus" in wanted else found
