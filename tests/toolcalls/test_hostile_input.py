"""No input crashes a parser or makes it slow: every text ends in calls or in a CallParseError."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from random import Random

import pytest

from llamafactory_ext.errors import CallParseError
from llamafactory_ext.toolcalls import FORMATS, ToolCall, parse_calls, render_calls
from llamafactory_ext.toolcalls.cursor import Cursor
from toolcalls.call_strategies import can_write, read_again

_MEGABYTE = 1_000_000
_BOUNDARY = re.compile(r"[>\]]|<[^>]*>|\n|Paris")
_PIECE_WORDS = (
    r"""( [ { ' " \ - a a. f( [f( f(a=[ f(a=( f(a={' f(a=' f(a=" f(a='''\' f(a=- f(a=1, f(**{ [f(a=1)] [1,"""
)
PIECES = [
    *_PIECE_WORDS.split(),
    *('{"', '{"a":', '{"a":[', '{"":1}', '{"name": "f", "arguments": {}}', "[TOOL_CALLS]", "[TOOL_CALLS] [{", '"""'),
    *(
        "<tool_call>",
        '<tool_call>{"a":',
        "Call:",
        "Call: f();",
        "Action:",
        "Action: a",
        "Action: f\nAction Input: {}\n",
    ),
    *(" ", "\n", "a ", "a\n", "f\n{", "_ (", "f(\u00a0", "f(a='\\n', ", "f(a=1) "),
]


def _parts(name: str) -> list[str]:
    """Openings, halves and tags of a format's own calls."""
    form = FORMATS[name]
    mark = form.mark.search(form.example)
    assert mark is not None
    cuts = [match.end() for match in _BOUNDARY.finditer(form.example)]
    openings = {form.example[:end] for end in (mark.end(), *cuts)}
    tags = {form.example[start:end] for start, end in zip([0, *cuts], cuts, strict=False)}
    return sorted((openings | tags | {form.example}) - {""})


def _steps(text: str, name: str) -> int:
    cursor = Cursor(text)
    with suppress(CallParseError):
        FORMATS[name].find(cursor)
    return cursor.steps


@pytest.mark.parametrize("name", FORMATS)
def test_steps_grow_no_faster_than_the_text(name: str) -> None:
    own = _parts(name)
    openings = ("", "f(a=['", "f(a=[", "f\n{", '{"a": "', "[TOOL_CALLS] [{", "Call: f(a=", *own)
    for piece in (*PIECES, *own):
        for opening in openings:
            text = opening + piece * (5_000 // len(piece))
            assert _steps(text, name) <= 8 * len(text) + 100, (opening, piece)


@pytest.mark.parametrize("name", FORMATS)
def test_a_megabyte_of_anything_ends(name: str) -> None:
    for piece in (
        "(",
        "[",
        "'",
        '"',
        "\\",
        "a",
        "a.",
        "f(",
        "f(a=[",
        "f(a='",
        '{"a":',
        '{"":1}',
        "Action:",
        FORMATS[name].example,
    ):
        with suppress(CallParseError):
            parse_calls(piece * (_MEGABYTE // len(piece)), name)


@pytest.mark.parametrize("name", FORMATS)
def test_a_call_of_a_megabyte_is_read(name: str) -> None:
    call = ToolCall("f", {"text": "a'b\"c(\\\n" * (_MEGABYTE // 8), "numbers": [1.5] * 1000})
    assert parse_calls(render_calls([call], name), name) == [call]


_FRAGMENT_WORDS = (
    r"""( ) [ ] { } ' " , : = \ ** f( x= None true 1e9 - 0x name "name": "arguments": "f" {} \u12 \x4 '''"""
)
_FRAGMENTS = [
    *sorted({part for name in FORMATS for part in _parts(name)}),
    *_FRAGMENT_WORDS.split(),
    *(
        "Action:",
        "Action Input:",
        "<tool_call>",
        "</tool_call>",
        "[TOOL_CALLS]",
        "Call:",
        "<bot_end>",
        "API-Request: [",
    ),
    *(" ", "\n", "\0", "\ud800", "\udfff", "é", "漢", "😀", "\u2028", '"""'),
]


def _fuzzed(count: int, random: Random) -> Iterator[tuple[str, str]]:
    """Renders with cuts, insertions and swaps, and heaps of fragments."""
    values = [None, True, -3, 2.5, "it's", 'say "x"', [1, ["a"]], {"k": {"l": None}}, "", "a, b=(c)", "漢"]
    names = list(FORMATS)
    for number in range(count):
        name = names[number % len(names)]
        if number % 4 == 0:
            yield name, "".join(random.choices(_FRAGMENTS, k=random.randrange(1, 16)))
            continue
        arguments = {key: random.choice(values) for key in random.sample(("x", "y", "odd key"), random.randrange(4))}
        text = render_calls([ToolCall("f", arguments)] * random.randrange(1, 3), name)
        for _ in range(random.randrange(1, 4)):
            at, to = sorted(random.choices(range(len(text) + 1), k=2))
            text = random.choice(
                (text[:at], text[at:], text[:at] + text[to:], text[:at] + random.choice(_FRAGMENTS) + text[at:])
            )
        yield name, text


def test_a_hundred_thousand_fuzzed_strings() -> None:
    parsed = refused = unwritten = 0
    for name, text in _fuzzed(100_000, Random(0)):
        try:
            calls = parse_calls(text, name)
        except CallParseError:
            refused += 1
        else:
            parsed += 1
            held = [call for call in calls if can_write(call, name)]
            assert not held or read_again(held, name) == held, (name, text)
            unwritten += len(calls) - len(held)
    assert parsed + refused == 100_000
    assert min(parsed, refused) > 5_000
    assert unwritten < parsed / 1_000  # marks inside values that only the text's damage has let through
