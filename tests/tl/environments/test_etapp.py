"""ETAPP's mini world as an environment: gold earns everything, what others like does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from llamafactory_ext.etapp.cases import open_source
from llamafactory_ext.etapp.mini import load_gold
from llamafactory_ext.tl.environments import Action, Step
from llamafactory_ext.tl.environments.etapp import etapp
from llamafactory_ext.toolcalls import ToolCall

pytestmark = pytest.mark.fast

GOLD = load_gold()
MINI = open_source("mini")


def act(case: str, right: Mapping[str, Any], **options: Any) -> Step:
    """Make the calls of a gold trajectory in the world of a case, then answer as it does."""
    world = etapp(**options)
    world.reset({"id": case})
    for call in right["calls"]:
        step = world.step(Action("...", (ToolCall(call["name"], call["arguments"]),)))
        assert not step.done
    return world.step(Action(right["answer"], end="answer"))


def test_gold_earns_the_maximum_in_every_case() -> None:
    for case in MINI.cases:
        end = act(case.id, GOLD[case.id])
        assert (end.reward, end.done) == (1.0, True), case.id
        assert set(end.checks.values()) == {1.0}, case.id


def test_gold_of_another_user_does_not() -> None:
    users = list(MINI.worlds)
    lower = 0
    for case in MINI.cases:
        other = users[(users.index(case.user) + 1) % len(users)]
        end = act(case.id, GOLD[f"{other}:{case.number:02d}"])
        assert end.reward <= 1
        if "personal" in end.checks:
            assert end.checks["personal"] == 0, case.id
            assert end.reward < 1, case.id
            lower += 1
    assert lower >= len(MINI.cases) // 2


def test_the_gold_of_one_case_earns_less_in_another_and_nothing_done_earns_less_than_all() -> None:
    first, second = MINI.cases[0].id, MINI.cases[1].id
    assert act(second, GOLD[first]).reward < 1
    assert all(act(case.id, {"calls": [], "answer": ""}).reward < 1 for case in MINI.cases)


def test_a_limit_scores_what_was_reached_without_an_answer() -> None:
    world = etapp()
    case = MINI.cases[0].id
    world.reset({"id": case})
    for call in GOLD[case]["calls"]:
        world.step(Action("...", (ToolCall(call["name"], call["arguments"]),)))
    end = world.step(Action("", end="tokens"))
    assert 0 < end.reward <= 1
    assert end.done


def test_two_episodes_do_not_touch_each_other() -> None:
    case = MINI.cases[0].id
    one, other = etapp(), etapp()
    one.reset({"id": case})
    other.reset({"id": case})
    for call in GOLD[case]["calls"]:
        one.step(Action("...", (ToolCall(call["name"], call["arguments"]),)))
    assert other.step(Action("Nothing.", end="answer")).reward < 1
    assert act(case, GOLD[case]).reward == 1


def test_unreadable_calls_and_unknown_records() -> None:
    world = etapp("mini-one-tool")
    for record in ({}, {"id": "nobody:00"}, {"id": None}):
        with pytest.raises(LookupError):
            world.reset(record)
    known = open_source("mini-one-tool").cases[0].id
    world.reset({"id": f"{known}@3"})
    assert "cannot be read" in world.step(Action("f(", problem="a bracket is missing")).observation


def test_unasked_effects_can_cost() -> None:
    case = next(one for one in MINI.cases if act(one.id, _with_alarm(one.id)).checks["extras"] == 0)
    free, costly = (act(case.id, _with_alarm(case.id), extras=each) for each in (0, 0.25))
    assert (free.reward - costly.reward) / 0.25 in (1, 2, 3, 4, 5)


def _with_alarm(case: str) -> dict[str, Any]:
    """Gold, and a call of another case of the same user behind it, where its tool is on offer."""
    offered = MINI.case(case).given
    others = [
        one for key, right in GOLD.items() if key.partition(":")[0] == case.partition(":")[0] for one in right["calls"]
    ]
    own = [(one["name"], str(one["arguments"])) for one in GOLD[case]["calls"]]
    more = [one for one in others if one["name"] in offered and (one["name"], str(one["arguments"])) not in own]
    return {"calls": [*GOLD[case]["calls"], *more], "answer": GOLD[case]["answer"]}
