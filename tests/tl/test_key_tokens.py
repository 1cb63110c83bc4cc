"""Weights of key tokens, for tokenizers of every kind and calls of every format."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiny
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.tl.key_tokens import VARIANTS, key_characters, key_token_weights, weigh_tokens
from llamafactory_ext.toolcalls import FORMATS, ParsedCall, ToolCall, find_calls, render_calls
from tl.tokenizers_made_here import TOKENIZERS

pytestmark = pytest.mark.fast

NAMES = (
    "get_weather",
    "get_weather_today",
    "get_wealth",
    "get",
    "get_time",
    "getTime",
    "search",
    "天気",
    "天候",
    "é_x",
)
_ARGUMENTS = {"city": "Paris", "days": 3, "note": "get_weather, or 天気"}


@cache
def _tokenizer(kind: str) -> Any:
    return TOKENIZERS[kind]()


def _offsets(tokenizer: Any, text: str) -> list[tuple[int, int]]:
    return tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]


def _holding(offsets: list[tuple[int, int]], *places: int) -> list[int]:
    return [token for token, (start, end) in enumerate(offsets) if any(start <= place < end for place in places)]


def _heavy(weights: list[float]) -> list[int]:
    return [token for token, weight in enumerate(weights) if weight != 1]


def _first_differences(name: str, others: Iterator[str]) -> set[int]:
    """By another way than the code's: the longest beginning that both have."""
    return {
        max(length for length in range(len(name) + 1) if other.startswith(name[:length]))
        for other in others
        if other != name
    }


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_weights_lie_exactly_on_the_tokens_of_the_two_characters(kind: str, form: str) -> None:
    tokenizer, heavy = _tokenizer(kind), 0
    for name in NAMES:
        if not FORMATS[form].can_name(name):
            continue
        call = render_calls([ToolCall(name, _ARGUMENTS)], form)
        found = find_calls(call, form)[0]
        offsets = _offsets(tokenizer, call)
        places = {found.name_start} | {found.name_start + at for at in _first_differences(name, iter(NAMES))}
        keys = _holding(offsets, *places)
        weights = key_token_weights(name, NAMES, call, tokenizer)
        weight = min(max((len(offsets) - len(keys)) / len(keys), 1), 9)
        assert weights == [weight if token in keys else 1.0 for token in range(len(offsets))]
        heavy += weight > 1
    assert heavy  # or the test would show nothing


def test_the_formula() -> None:
    """A hand count: get|_|weather|(|city|='|Paris|'), departing from get_time at "weather": |K| = 2, |NK| = 6."""
    tokenizer = _tokenizer("byte_level")
    call = "get_weather(city='Paris')"
    tokens = [call[start:end] for start, end in _offsets(tokenizer, call)]
    assert tokens == ["get", "_", "weather", "(", "city", "='", "Paris", "')"]
    assert key_token_weights("get_weather", ["get_time"], call, tokenizer) == [3, 1, 3, 1, 1, 1, 1, 1]
    assert key_token_weights("get_weather", ["finish"], call, tokenizer) == [7, 1, 1, 1, 1, 1, 1, 1]
    assert key_token_weights("get_weather", ["finish"], call, tokenizer, w_max=2.5) == [2.5, 1, 1, 1, 1, 1, 1, 1]
    # The released code does not count "')".
    assert key_token_weights("get_weather", ["get_time"], call, tokenizer, variant="reference")[0] == 2.5


@pytest.mark.parametrize(
    ("call", "counted"),
    [
        ("get_time(zone='x', unit='y')", ["',", "')"]),
        ('get_time(zone="x", unit="y")', ['")']),
        ("get_time(zone=1, unit=2)", [")"]),
        ("get_time()", ["()"]),
    ],
)
def test_reference_leaves_out_what_closes_a_value(call: str, counted: list[str]) -> None:
    """In the released code's own tokens: one for each mark."""
    pieces = ["get", "_", "time", *counted]
    rest = call.removeprefix("get_time")
    offsets, at = [(0, 3), (3, 4), (4, 8)], 8
    while rest:
        piece = next((mark for mark in sorted(counted, key=len, reverse=True) if rest.startswith(mark)), rest[0])
        offsets.append((at, at + len(piece)))
        at, rest = at + len(piece), rest[len(piece) :]
    whole = [ParsedCall(ToolCall("get_time"), 0, len(call), 0, 8)]
    paper = weigh_tokens(call, offsets, whole, ["get_x"], w_max=99)
    released = weigh_tokens(call, offsets, whole, ["get_x"], w_max=99, variant="reference")
    others = len(offsets) - 2
    closing = sum(call[start:end] in pieces[3:] for start, end in offsets)
    assert paper[0] == max(others / 2, 1)
    assert released[0] == max((others - closing) / 2, 1)
    assert released[2] == released[0]


def test_reference_takes_one_off_where_nothing_closes() -> None:
    tokenizer = _tokenizer("byte_level")
    call = 'get_time\n{"zone": "CET"}'
    paper = key_token_weights("get_time", [], call, tokenizer, w_max=99)
    released = key_token_weights("get_time", [], call, tokenizer, w_max=99, variant="reference")
    assert released[0] == paper[0] - 1 > 1


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_name_that_begins_another_is_decided_by_what_follows_it(kind: str) -> None:
    tokenizer = _tokenizer(kind)
    call = "get(city='Paris', days=3, note='a long note')"
    offsets = _offsets(tokenizer, call)
    assert _heavy(key_token_weights("get", ["get_weather"], call, tokenizer)) == _holding(offsets, 0, 3)
    call = "get_weather(city='Paris', days=3, note='a long note')"
    offsets = _offsets(tokenizer, call)
    assert _heavy(key_token_weights("get_weather", ["get"], call, tokenizer)) == _holding(offsets, 0, 3)
    assert _heavy(key_token_weights("get_weather", ["search", "", "get_weather"], call, tokenizer)) == _holding(
        offsets, 0
    )


def test_name_inside_a_token_and_inside_a_template() -> None:
    """Any template: the spans are those of the final text, and special tokens weigh 1."""
    tokenizer = tiny.tiny_tokenizer()
    turns = [
        {"role": "user", "content": "get_weather? GetWeather!"},
        {
            "role": "assistant",
            "content": "I look. [GetWeather(city='Paris'), AddReminder(content='call', time='noon')]",
        },
    ]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    at = text.index("I look.")
    calls = [
        ParsedCall(one.call, at + one.start, at + one.end, at + one.name_start, at + one.name_end)
        for one in find_calls(text[at:], "api_bank")
    ]
    assert [text[one.name_start : one.name_end] for one in calls] == ["GetWeather", "AddReminder"]
    weights = weigh_tokens(text, encoded["offset_mapping"], calls, ["GetWeather", "AddReminder", "GetWind"])
    places = [calls[0].name_start, calls[0].name_start + 4, calls[1].name_start]
    assert _heavy(weights) == _holding(encoded["offset_mapping"], *places)
    assert len(weights) == len(encoded["input_ids"])
    # Each call has a weight of its own.
    assert weights[_holding(encoded["offset_mapping"], places[0])[0]] != weights[_heavy(weights)[-1]]
    for index, token in enumerate(encoded.tokens()):
        assert weights[index] == 1 or not token.startswith("<|")


def test_a_token_of_two_calls_takes_the_larger_weight() -> None:
    text = "f()g(aaaa)"
    calls = [ParsedCall(ToolCall("f"), 0, 3, 0, 1), ParsedCall(ToolCall("g"), 3, 10, 3, 4)]
    offsets = [(0, 1), (1, 2), (2, 4), *((at, at + 1) for at in range(4, 10))]
    assert weigh_tokens(text, offsets, calls, []) == [2, 1, 6, 1, 1, 1, 1, 1, 1]
    assert weigh_tokens(text, offsets, calls[::-1], []) == [2, 1, 6, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_without_calls_every_token_weighs_one(kind: str) -> None:
    text = "get_weather is a tool."
    offsets = _offsets(_tokenizer(kind), text)
    assert weigh_tokens(text, offsets, [], ["get_weather"]) == [1.0] * len(offsets)
    outside = ParsedCall(ToolCall("f"), 100, 120, 100, 101)
    assert weigh_tokens(text, offsets, [outside], ["g"]) == [1.0] * len(offsets)
    assert weigh_tokens(text, [], [], []) == []


def test_special_tokens_hold_no_character() -> None:
    call = ParsedCall(ToolCall("f"), 0, 8, 0, 1)
    assert weigh_tokens("f(a='b')", [(0, 0), (0, 1), (1, 4), (4, 8), (0, 0), (8, 8)], [call], []) == [1, 2, 1, 1, 1, 1]


_WORDS = st.text(alphabet="get_wx天é", min_size=1, max_size=8)


@given(
    name=_WORDS,
    others=st.lists(_WORDS, max_size=5),
    value=st.text(max_size=12),
    kind=st.sampled_from(sorted(TOKENIZERS)),
    w_max=st.floats(1, 20),
    variant=st.sampled_from(VARIANTS),
)
def test_identities(name: str, others: list[str], value: str, kind: str, w_max: float, variant: str) -> None:
    tokenizer = _tokenizer(kind)
    call = render_calls([ToolCall(name, {"x": value})], "react")
    weights = key_token_weights(name, others, call, tokenizer, w_max, variant)
    offsets = _offsets(tokenizer, call)
    start = find_calls(call, "react")[0].name_start
    keys = _holding(offsets, start, *(start + at for at in _first_differences(name, iter(others))))
    assert len(weights) == len(offsets)
    assert keys
    assert len({weights[token] for token in keys}) == 1
    weight = weights[keys[0]]
    assert 1 <= weight <= w_max
    assert set(_heavy(weights)) in (set(), set(keys))
    # What the key tokens gain is all that the sum gains; unclipped, they weigh as much as the others together.
    assert sum(weights) == pytest.approx(len(offsets) + len(keys) * (weight - 1))
    if variant == "paper" and 1 < weight < w_max:
        assert sum(weights) == pytest.approx(2 * (len(offsets) - len(keys)))
    assert key_token_weights(name, others, call, tokenizer, 1.0, variant) == [1.0] * len(offsets)
    assert key_token_weights(name, [*reversed(others), name, ""], call, tokenizer, w_max, variant) == weights


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_truncation(kind: str) -> None:
    tokenizer = _tokenizer(kind)
    call = "get_weather(city='Paris', days=3)"
    offsets = _offsets(tokenizer, call)
    parsed = find_calls(call, "python")
    for length in range(len(offsets) + 1):
        weights = weigh_tokens(call, offsets[:length], parsed, ["get_time"])
        assert len(weights) == length
        assert set(_heavy(weights)) <= set(_holding(offsets[:length], 0, 4))
    # The text of a call that ends in the middle of its arguments, or with its name.
    assert len(key_token_weights("get_weather", ["get_time"], call[:17], tokenizer)) == len(
        _offsets(tokenizer, call[:17])
    )
    whole_name = ParsedCall(ToolCall("get_weather"), 0, 11, 0, 11)
    assert key_characters("get_weather", whole_name, ["get_weather_today", "get_time"]) == [0, 4]


def test_the_name_is_found_where_the_call_states_it() -> None:
    tokenizer = _tokenizer("byte_level")
    for form, call in {
        "json": '{"arguments": {"name": "get_time"}, "name": "get_time", "id": "a b c d e f"}',
        "react": "Thought: get_time it is, for the time.\nAction: get_time\nAction Input: {}",
    }.items():
        start = find_calls(call, form)[0].name_start
        weights = key_token_weights("get_time", [], call, tokenizer)
        assert _heavy(weights) == _holding(_offsets(tokenizer, call), start)


def test_bad_input_is_told() -> None:
    tokenizer, call = _tokenizer("byte_level"), "get_time(zone='CET')"
    with pytest.raises(DataError, match="does not hold the name 'time'"):
        key_token_weights("time", [], call, tokenizer)
    with pytest.raises(DataError, match="no name"):
        key_token_weights("", [], call, tokenizer)
    for w_max in (0.5, -1.0, float("nan")):
        with pytest.raises(OptionError, match="1 or more"):
            key_token_weights("get_time", [], call, tokenizer, w_max)
    with pytest.raises(OptionError, match="paper, reference"):
        key_token_weights("get_time", [], call, tokenizer, variant="released")
    with pytest.raises(OptionError, match="fast"):
        key_token_weights("get_time", [], call, object())
