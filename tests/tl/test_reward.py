"""Rewards row by row and in combination, in every call format, and the released parser's verdicts."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.tl.reward import REWARDS, VARIANTS, reward_parts, tool_call_reward
from llamafactory_ext.toolcalls import FORMATS, Tool, ToolCall, render_calls

pytestmark = pytest.mark.fast

_TEXT = {"type": "string"}
_SCHEMA = {"city": _TEXT, "days": {"type": "integer"}, "unit": _TEXT, "lang": _TEXT}
TOOLS = [
    Tool("get_weather", "Tells the weather.", _SCHEMA, ["city"]),
    Tool("get_time", "Tells the time.", {"zone": {"type": "string"}}),
]
GOLD = {"city": "Paris", "days": 3}

# (what is added to R, arguments of the prediction)
ROWS: list[tuple[set[str], dict[str, Any]]] = [
    ({"correct"}, {"city": "Paris", "days": 3}),
    ({"correct"}, {"days": 3.0, "city": "Paris"}),
    ({"content"}, {"city": "Rome", "days": 3}),
    ({"content"}, {"city": "Paris", "days": "3"}),
    ({"content"}, {"city": "paris", "days": 3}),
    ({"missing_parameter"}, {"city": "Paris"}),
    ({"missing_parameter"}, {}),
    ({"redundant_parameter"}, {"city": "Paris", "days": 3, "unit": "c"}),
    ({"redundant_parameter"}, {"city": "Paris", "days": 3, "unit": "c", "lang": "fr"}),
    ({"parameter_hallucination"}, {"city": "Paris", "days": 3, "town": "Paris"}),
    ({"redundant_parameter", "missing_parameter"}, {"city": "Paris", "unit": "c"}),
    ({"parameter_hallucination", "missing_parameter"}, {"town": "Paris", "days": 3}),
    ({"parameter_hallucination", "redundant_parameter"}, {"city": "Rome", "days": 3, "unit": "c", "town": "Rome"}),
    ({"parameter_hallucination", "redundant_parameter", "missing_parameter"}, {"unit": "c", "town": "Paris"}),
]


def _written(form: str, *calls: tuple[str, dict[str, Any]]) -> str:
    return render_calls([ToolCall(name, arguments) for name, arguments in calls], form)


# Where a format writes values without types, the declared type decides: "3" for a number of days is 3.
FORMS_AND_ROWS = [(form, *row) for form in FORMATS for row in ROWS if FORMATS[form].typed or row[1].get("days") != "3"]


@pytest.mark.parametrize(("form", "categories", "arguments"), FORMS_AND_ROWS)
def test_rows_of_the_right_tool(form: str, categories: set[str], arguments: dict[str, Any]) -> None:
    reference = _written(form, ("get_weather", GOLD))
    prediction = _written(form, ("get_weather", arguments))
    for call_format in (form, None):  # told, and recognised
        reward = reward_parts(prediction, reference, TOOLS, call_format=call_format)
        assert reward.parts == {category: REWARDS[category] for category in categories}
        assert reward.total == pytest.approx(sum(REWARDS[category] for category in categories))
        assert tool_call_reward(prediction, reference, TOOLS, call_format=call_format) == reward.total
        assert (
            tool_call_reward(prediction, [ToolCall("get_weather", GOLD)], TOOLS, call_format=call_format)
            == reward.total
        )


@pytest.mark.parametrize(
    ("present", "total"),
    [
        ((0, 0, 1), -0.5),
        ((0, 1, 0), -0.5),
        ((0, 1, 1), -1.0),
        ((1, 0, 0), -0.8),
        ((1, 0, 1), -1.3),
        ((1, 1, 0), -1.3),
        ((1, 1, 1), -1.8),
    ],
)
def test_parameter_penalties_add_up(present: tuple[int, int, int], total: float) -> None:
    hallucinated, redundant, missing = present
    arguments = {} if missing else {"city": "Rome"}
    arguments |= {"town": "Rome"} if hallucinated else {}
    arguments |= {"unit": "c"} if redundant else {}
    prediction = _written("python", ("get_weather", arguments))
    assert tool_call_reward(prediction, "get_weather(city='Paris')", TOOLS) == total


@pytest.mark.parametrize("form", FORMATS)
def test_rows_of_other_tools(form: str) -> None:
    reference = _written(form, ("get_weather", GOLD))
    for prediction, category, reward in (
        (_written(form, ("get_time", {"zone": "CET"})), "wrong_tool", -1.5),
        (_written(form, ("get_weather_now", GOLD)), "tool_hallucination", -2),
        (_written(form, ("get_weather", GOLD), ("get_weather_now", GOLD)), "tool_hallucination", -2),
        (reference[: reference.index("Paris")], "unparsable", -2),
        ("The weather is fine.", "unparsable", -2),
        ("", "unparsable", -2),
    ):
        assert reward_parts(prediction, reference, TOOLS, call_format=form).parts == {category: reward}
        assert tool_call_reward(prediction, reference, TOOLS) == reward


def test_other_formats_than_the_one_named_are_unparsable() -> None:
    reference = _written("qwen", ("get_weather", GOLD))
    for other in ("json", "react", "python"):
        prediction = _written(other, ("get_weather", GOLD))
        assert tool_call_reward(prediction, reference, TOOLS, call_format="qwen") == -2
        assert tool_call_reward(prediction, reference, TOOLS) == 1, "any format is read where none is named"


def test_values_are_read_not_compared_as_text() -> None:
    reference = "get_weather(city='Paris', days=3)"
    for prediction, reward in {
        'get_weather(city="Paris", days=3)': 1,
        "Sure:\nget_weather( days = 3 , city = 'Paris' )\nDone.": 1,
        'get_weather(city="Rome", days=3)': -0.25,
        "get_weather(city='Paris', days=4)": -0.25,
        "get_weather(city='Par(i)s', days=3)": -0.25,
        "get_weather(city=Paris, days=3)": -2,
        "get_weather('Paris', 3)": -2,
    }.items():
        assert tool_call_reward(prediction, reference, TOOLS) == reward
    assert tool_call_reward("get_weather(city=True)", "get_weather(city=1)", TOOLS) == -0.25


_WEATHER, _TIME = ("get_weather", {"city": "Paris"}), ("get_time", {"zone": "CET"})


@pytest.mark.parametrize(
    ("calls", "parts"),
    [
        ([_WEATHER, _TIME], {"correct": 1}),
        ([_TIME, _WEATHER], {"correct": 1}),
        ([_WEATHER], {"wrong_tool": -1.5}),
        ([_WEATHER, _TIME, _TIME], {"wrong_tool": -1.5}),
        ([_WEATHER, _WEATHER], {"wrong_tool": -1.5}),
        ([_WEATHER, ("get_time", {"zone": "UTC"})], {"content": -0.25}),
        ([_WEATHER, ("get_time", {})], {"missing_parameter": -0.5}),
        (
            [("get_weather", {"city": "Paris", "town": "x"}), ("get_time", {})],
            {"parameter_hallucination": -0.8, "missing_parameter": -0.5},
        ),
        ([("get_weather", {}), ("get_time", {})], {"missing_parameter": -0.5}),
    ],
)
def test_several_calls_are_one_turn(calls: list[tuple[str, dict[str, Any]]], parts: dict[str, float]) -> None:
    reward = reward_parts(_written("python", *calls), _written("python", _WEATHER, _TIME), TOOLS)
    assert reward.parts == parts


def test_calls_of_one_tool_are_paired_as_they_fit() -> None:
    reference = "get_weather(city='A')\nget_weather(city='B', days=1)\nget_weather(city='C', days=2)"
    swapped = "get_weather(city='C', days=2)\nget_weather(city='x', days=1)\nget_weather(city='A')"
    assert tool_call_reward(swapped, reference, TOOLS) == -0.25
    assert tool_call_reward("\n".join(reversed(reference.split("\n"))), reference, TOOLS) == 1


def test_a_parameter_of_the_reference_is_no_hallucination() -> None:
    """Public data declares some tools incompletely."""
    reference = "get_time(zone='CET', odd='x')"
    assert tool_call_reward(reference, reference, TOOLS) == 1
    assert tool_call_reward("get_time(zone='CET')", reference, TOOLS) == -0.5
    assert tool_call_reward("get_time(zone='CET', odd='x', other=1)", reference, TOOLS) == -0.8


@pytest.mark.parametrize(
    ("reference", "problem"),
    [
        ("It is fine.", "holds no call"),
        ("get_weather(city=Paris)", "cannot be read as a call"),
        ('{"name": "get_weather", "arguments": {', "cannot be read as a call"),
        ('Action: get_weather\nAction Input: {"city"', "cannot be read as a call"),
        ("get_moon(phase='x')", "'get_moon', which is not among the declared tools"),
        ([], "holds no call"),
        ([ToolCall("get_moon")], "not among the declared tools"),
    ],
)
def test_references_that_nothing_could_match_are_errors(reference: Any, problem: str) -> None:
    with pytest.raises(DataError, match=re.escape(problem)):
        tool_call_reward("get_weather(city='Paris')", reference, TOOLS)


def test_options_are_checked() -> None:
    with pytest.raises(OptionError, match="paper, reference"):
        tool_call_reward("f()", "f()", [Tool("f")], "released")
    with pytest.raises(OptionError, match="no call format"):
        tool_call_reward("f()", "f()", [Tool("f")], call_format="pyhton")
    with pytest.raises(DataError, match="as text"):
        tool_call_reward("f()", [ToolCall("f")], [Tool("f")], "reference")


RELEASED: list[tuple[str, str, float]] = [
    ("get_weather(city='Paris')", "get_weather(city='Paris')", 1),
    ("get_weather(city='Rome')", "get_weather(city='Paris')", -0.25),
    ("get_weather()", "get_weather(city='Paris')", -0.5),
    ("get_weather(city='Paris', unit='c')", "get_weather(city='Paris')", -0.5),
    ("get_weather(unit='c')", "get_weather(city='Paris')", -1.0),
    ("get_weather(city='Paris', town='x')", "get_weather(city='Paris')", -0.8),
    ("get_weather(town='x')", "get_weather(city='Paris')", -1.3),
    ("get_weather(city='Paris', unit='c', town='x')", "get_weather(city='Paris')", -1.3),
    ("get_weather(unit='c', town='x')", "get_weather(city='Paris')", -1.8),
    ("get_time()", "get_weather(city='Paris')", -1.5),
    ("get_moon()", "get_weather(city='Paris')", -2),
    ("no call", "get_weather(city='Paris')", -2),
    ("get_weather(city='Paris'", "get_weather(city='Paris')", -2),
    # What the released parser does not see.
    ('get_weather(city="Rome")', 'get_weather(city="Paris")', 1),
    ("get_weather(city=Rome, days=7)", 'get_weather(city="Paris", days=3)', 1),
    ("get_weather()", 'get_weather(city="Paris")', 1),
    ('get_weather(city="Paris")', "get_weather(city='Paris')", -0.5),
    ("get_weather(city='Paris')", 'get_weather(city="Paris")', -0.5),
    ("get_weather(city='x)y')", "get_weather(city='x)z')", 1),
    ("I call get_weather(city='Paris')", "get_weather(city='Paris')", -2),
    ("I call\nget_weather(city='Paris') then", "get_weather(city='Paris')", 1),
    ("get_weather(city = 'Paris')", "get_weather(city='Paris')", 1),
    ("get_weather(city='Rome', city='Paris')", "get_weather(city='Paris')", 1),
    ("(city='Paris')", "get_weather(city='Paris')", -1.5),
    ("(city='Paris')", "(city='Paris')", 1),
    ("(town='Paris')", "(city='Paris')", -0.5),
    ("get_weather(city='Paris')", "The weather is fine.", -2),
    ("get_weather\n(city='Paris')", "get_weather(city='Paris')", -1.5),
    # A parameter of the reference that is not declared counts as hallucinated.
    ("get_time(odd='x')", "get_time(odd='x')", -0.8),
]


@pytest.mark.parametrize(("prediction", "reference", "reward"), RELEASED)
def test_reference_variant_gives_the_released_verdicts(prediction: str, reference: str, reward: float) -> None:
    released = reward_parts(prediction, reference, TOOLS, "reference")
    assert released.total == pytest.approx(reward, abs=1e-12)
    assert sum(released.parts.values()) == released.total


def test_released_parser_takes_linear_time() -> None:
    for hostile in (
        "a" * 200_000,
        "f(" * 100_000,
        "f(" + "a" * 200_000 + ")",
        "f(" + "a= " * 70_000 + ")",
        "f(a='" * 50_000,
    ):
        assert tool_call_reward(hostile, "get_time()", TOOLS, "reference") < 0


_VALUES = (
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=6) | st.lists(st.integers(0, 3), max_size=2)
)
_CALLS = st.builds(
    ToolCall,
    st.sampled_from(["get_weather", "get_time", "get_moon"]),
    st.dictionaries(st.sampled_from(["city", "days", "unit", "zone", "odd"]), _VALUES, max_size=4),
)


@given(
    predictions=st.lists(_CALLS, min_size=1, max_size=3),
    references=st.lists(_CALLS.filter(lambda call: call.name != "get_moon"), min_size=1, max_size=3),
    form=st.sampled_from(sorted(FORMATS)),
    data=st.data(),
)
def test_properties(predictions: list[ToolCall], references: list[ToolCall], form: str, data: st.DataObject) -> None:
    gold = render_calls(references, form)
    assert reward_parts(gold, gold, TOOLS, call_format=form).parts == {"correct": 1}
    prediction = render_calls(predictions, form)
    reward = reward_parts(prediction, gold, TOOLS, call_format=form)
    assert -2 <= reward.total <= 1
    assert reward.total == sum(reward.parts.values())
    assert reward.parts
    assert all(REWARDS[category] == part for category, part in reward.parts.items())
    assert (reward.total == 1) == (sorted(map(hash, predictions)) == sorted(map(hash, references)))
    shuffled = [
        ToolCall(call.name, dict(data.draw(st.permutations(list(call.arguments.items()))))) for call in predictions
    ]
    assert reward_parts(render_calls(shuffled, form), gold, TOOLS, call_format=form) == reward


@given(
    st.text(alphabet="get_wathr()='\"{}[]:,\n abc", max_size=40),
    st.sampled_from(VARIANTS),
    st.sampled_from(sorted(FORMATS)),
)
def test_any_prediction_has_a_reward(text: str, variant: str, form: str) -> None:
    assert -2 <= tool_call_reward(text, "get_weather(city='Paris')", TOOLS, variant) <= 1
    assert -2 <= tool_call_reward(text, [ToolCall("get_weather")], TOOLS, call_format=form) <= 1
