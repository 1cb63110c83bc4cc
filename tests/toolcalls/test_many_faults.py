"""Texts full of broken calls cost no more per call than short ones: steps are counted, not seconds."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any

import pytest

from llamafactory_ext.errors import CallParseError
from llamafactory_ext.toolcalls import Tool, detect
from llamafactory_ext.toolcalls.json_text import decode

pytestmark = pytest.mark.fast

TOOLS = [Tool("f", "", {"x": {"type": "string"}})]
_GOOD = '{"name": "f", "arguments": {"x": "a"}}'
PIECES = {
    "broken JSON": '{"name": "f", "arguments": {"x": }}\n',
    "broken JSON, then prose": '{"name": "f", "arguments": {"x": }}\nOops, once more.\n',
    "broken, prose, good": f'{{"name": "f", "arguments": {{"x": }}}}\nOops, once more.\n{_GOOD}\n',
    "good": f"{_GOOD}\n",
    "misspelt keys": '{"nmae": "f", "arguments": {"x": "a"}}\n',
    "misspelt marks": '<tool_cal>{"a": 1}</tool_cal>\n',
    "end marks": '{"a": 1}</tool_call>\n',
    "tags": "<div><p>",
    "python": "f(x=1, y)\n",
    "comments": "# f(x='a')\n",
    "comments on one line": "# f( ",
    "comments of a page": "<!-- f(x='a') ",
    "thoughts that never end": "a <think> ",
    "thoughts closed by another mark": "<think>a</thinking>\n",
    "fences": "```tool_code\nf(x=1)\n",
    "headers": '<|channel|>commentary to=functions.f<|message|>{"x": <|call|>\n',
    "elements": "<f><x>a</x>\n",
    "elements of another tool": "<g>f</g>\n",
    "nested calls": '{"a": [{"name": "f", "arguments": {"x": }}]}\n',
    "names alone": "f\n",
    "names and colons": "name: f\nx: a\n",
    "react": 'Action: f\nAction Input: {"x": \n',
}


def steps(text: str) -> int:
    """Functions that are called, Python's own included."""
    count = 0

    def called(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        with suppress(CallParseError):
            detect(text, TOOLS)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("piece", PIECES)
def test_steps_grow_with_the_number_of_broken_calls(piece: str) -> None:
    text = PIECES[piece]
    few, many = steps(text * 50), steps(text * 200)
    assert many <= 4.5 * few + 200


def test_an_error_in_a_long_text_looks_at_a_part_of_it_only() -> None:
    """Python's decoder counts all line breaks before an error."""
    text = "\n" * 100_000 + '{"x": }'
    with pytest.raises(ValueError, match=r"line 1 column 7"):
        decode(text, 100_000)


@pytest.mark.parametrize("size", [10, 3_990, 4_000, 4_010, 40_000])
def test_values_of_every_size_are_decoded(size: int) -> None:
    for before in ("", " ", "x" * 5_000):
        for text, value in ((f'"{"a" * size}"', "a" * size), (f'["{"é" * size}", 12]', ["é" * size, 12])):
            assert decode(before + text, len(before)) == (value, len(before) + len(text), None)
            assert decode(f"{before}{text} and more", len(before))[0] == value
    assert decode("[" + "1, " * size + "2]", 0)[0] == [1] * size + [2]
