"""The checks: what each part holds for, values, what a user likes, and effects that nobody asked for."""

from __future__ import annotations

from typing import Any

import pytest

from llamafactory_ext.errors import DataError
from llamafactory_ext.etapp.checks import Deeds, check, value_fits
from llamafactory_ext.etapp.mini import load
from llamafactory_ext.etapp.mini_form import need

pytestmark = pytest.mark.fast
WORLD = next(iter(load().worlds.values()))
SLOTS = {"n": 3, "names": ["Ann", "Ben"], "low": 10, "high": 20}


def effect(tool: str, **arguments: Any) -> dict[str, Any]:
    return {"name": tool, "failed": None, "effect": {"tool": tool, "args": arguments}}


def read(tool: str, failed: str | None = None) -> dict[str, Any]:
    return {"name": tool, "failed": failed, "effect": None}


def holds(checks: dict[str, Any], *calls: dict[str, Any], answer: str = "", changes: Any = ()) -> bool:
    return check(checks, SLOTS, Deeds(calls, answer, changes, WORLD)).success


@pytest.mark.parametrize(
    ("wanted", "value", "fits"),
    [
        (1, 1, True),
        (1, 1.0, True),
        (1, True, False),
        (True, True, True),
        ("Kitchen ", " kitchen", True),
        ("a", "b", False),
        (["a"], ["A"], True),
        (["a"], ["a", "b"], False),
        ({"slot": "n"}, 3, True),
        ({"slot": "n"}, 4, False),
        ({"slot": "names"}, "ben", True),
        ({"slot": "names"}, "Cleo", False),
        ({"slot": "n", "plus": [0, 2]}, 5, True),
        ({"slot": "n", "plus": [1, 2]}, 3, False),
        ({"between": [{"slot": "low"}, {"slot": "high"}]}, 20, True),
        ({"between": [10, 20]}, 21, False),
        ({"between": [10, 20]}, "15", False),
        ({"after": "2025-03-04 20:00:00"}, "2025-03-04 20:15:00", True),
        ({"after": "2025-03-04 20:00:00"}, "2025-03-04 20:00:00", False),
        ({"any": [1, {"slot": "n"}]}, 3, True),
        ({"not": {"slot": "names"}}, "Ann", False),
        ({"not": 4}, 3, True),
    ],
)
def test_values(wanted: Any, value: Any, fits: bool) -> None:
    assert value_fits(wanted, value, SLOTS) is fits


def test_each_pattern_needs_an_effect_of_its_own() -> None:
    broad, narrow = {"tool": "t"}, {"tool": "t", "args": {"a": 1}}
    assert not holds({"require": [broad, narrow]}, effect("t", a=1))
    # The broad one must leave the only fitting effect to the narrow one, whatever their order.
    assert holds({"require": [broad, narrow]}, effect("t", a=1), effect("t", a=2))
    assert holds({"require": [narrow, broad]}, effect("t", a=1), effect("t", a=2))
    assert not holds({"require": [narrow, narrow]}, effect("t", a=1), effect("t", a=2))


PARTS: list[tuple[dict[str, Any], list[Any], list[Any]]] = [
    ({"any": [[{"tool": "a"}, {"tool": "b"}]]}, [effect("b")], [effect("c")]),
    ({"forbid": [{"tool": "a", "args": {"x": 1}}]}, [effect("a", x=2)], [effect("a", x=1)]),
    ({"reads": ["r"]}, [read("r")], [read("r", "Others")]),
    ({"order": [["r", "s"]]}, [read("r"), read("s")], [read("s"), read("r")]),
    (
        {"differ": {"tool": "a", "arg": "x", "n": 2}},
        [effect("a", x=1), effect("a", x=2)],
        [effect("a", x=1), effect("a", x=1)],
    ),
    (
        {"spend": 12},
        [effect("add_product_to_cart", product_id="MW1000", quantity=2)],
        [effect("add_product_to_cart", product_id="MW1000", quantity=3)],
    ),
]


@pytest.mark.parametrize(("checks", "good", "bad"), PARTS, ids=lambda part: str(part)[:30])
def test_parts(checks: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
    assert holds(checks, *good)
    assert not holds(checks, *bad)


@pytest.mark.parametrize(
    ("answer", "success"),
    [
        ("Ask ANN, please.", True),
        ("Ask Annabel.", False),
        ("Ann, not Cleo.", False),
        ("", False),
        ("Ben's there", True),
    ],
)
def test_answers_have_whole_words(answer: str, success: bool) -> None:
    assert holds({"answer": {"has": [{"slot": "names"}], "lacks": ["cleo"]}}, answer=answer) is success


def test_an_empty_answer_lacks_nothing() -> None:
    assert not holds({"answer": {"lacks": ["Cleo"]}}, answer=" ")


def test_the_state_ends_as_it_should() -> None:
    assert holds({"state": {"home/curtains": "closed"}}, changes=[("home/curtains", "open", "closed")])
    assert not holds({"state": {"home/curtains": "closed"}}, changes=[])


def test_parts_of_task_and_of_person() -> None:
    checks = {"require": [{"tool": "t", "args": {"a": {"slot": "n"}}}], "reads": ["r"], "allow": ["x"]}
    found = check(checks, SLOTS, Deeds([read("r"), effect("t", a=9), effect("x")], "", [], WORLD))
    assert (found.part(personal=False), found.part(personal=True), found.partial) == (True, False, 0.5)
    assert [one["tool"] for one in found.collateral] == ["t"]


@pytest.mark.parametrize(
    ("checks", "about"),
    [
        ({"require": [need("t", a={"slot": "n"})]}, "require t(a=5 [n])"),
        ({"require": [need("t", a={"slot": "n", "plus": [0, 3]})]}, "require t(a=5 +0 to +3 [n])"),
        ({"require": [need("t", a=["x", "y"])]}, "require t(a=x or y)"),
        ({"require": [need("t", a=True)]}, "require t(a=true)"),
        ({"any": [[need("t"), need("u")]]}, "any of t() or u()"),
        ({"forbid": [need("t", a={"not": "x"})]}, "forbid t(a=other than x)"),
        ({"answer": {"lacks": [{"slot": "names"}]}}, "the answer lacks Ann or Bob [names]"),
        ({"state": {"p": {"between": [1, {"slot": "n"}]}}}, "p ends as 1 to 5 [n]"),
    ],
)
def test_a_condition_is_told_in_words(checks: Any, about: str) -> None:
    slots = {"n": 5, "names": ["Ann", "Bob"]}
    (condition,) = check(checks, slots, Deeds([], "", [], WORLD)).conditions
    assert condition.about == about


def test_checks_that_cannot_be() -> None:
    with pytest.raises(DataError, match="unknown part"):
        holds({"requires": []})
    with pytest.raises(DataError, match="a slot 'x'"):
        holds({"require": [{"tool": "t", "args": {"a": {"slot": "x"}}}]}, effect("t", a=1))
    with pytest.raises(DataError, match="no condition"):
        holds({"allow": ["t"]})
