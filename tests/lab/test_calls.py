"""Calls for pre-training: what the prompt states is what the answer is, and nothing of the demo occurs."""

from __future__ import annotations

import re
from random import Random

import pytest

from llamafactory_ext.lab.calls import DEMO_PAIRS, Format, calls, draw_wishes, turns
from llamafactory_ext.lab.scoring import parse_call

pytestmark = pytest.mark.fast


def test_no_tool_of_the_demo_is_ever_drawn() -> None:
    rng = Random(1)
    for _ in range(500):
        assert not {(wish.verb, wish.noun) for wish in draw_wishes(3, rng)} & DEMO_PAIRS


def test_the_demos_format_is_never_drawn() -> None:
    rng = Random(2)
    drawn = {Format.draw(rng) for _ in range(2000)}
    assert len(drawn) > 150
    assert all(parse_call(form.write("Name", {"key": "value"})) is None for form in drawn if form.bracket[0] == "[")


def test_an_answer_is_written_as_the_prompt_states() -> None:
    rng = Random(3)
    for generate in (calls, turns):
        for _ in range(200):
            example = generate(rng)
            sample = re.match(r".* in the format of (.*)\.", example.prompt)
            assert sample is not None
            shape = re.sub(r"\w+=(['\"])[^'\"]*\1(?:,? ?\w+=(['\"])[^'\"]*\2)*", "PAIRS", sample[1])
            written = re.sub(r"\w+=(['\"])[^'\"]*\1(?:,? ?\w+=(['\"])[^'\"]*\2)*", "PAIRS", example.answer)
            name = re.search(r"[A-Z][a-z]+[A-Z][a-z]+(?=[ (]PAIRS)", written)
            assert name is not None
            assert re.sub(r"(Api)?Name(?=[ (]PAIRS)", name[0], shape) == written


def test_each_later_call_takes_what_the_last_output_gave() -> None:
    rng = Random(4)
    for _ in range(200):
        example = turns(rng)
        outputs, replies = zip(*example.after, strict=True)
        assert len(replies) in (2, 3)
        for output, reply in zip(outputs, replies, strict=True):
            (value,) = re.findall(r': "(.*)"', output)
            assert value in reply
            assert value not in example.prompt or len(value) <= 2 or output != outputs[-1]


def test_held_out_are_tools_not_wordings() -> None:
    rng = Random(5)
    splits: dict[str, set[str]] = {}
    for _ in range(3000):
        example = calls(rng)
        splits.setdefault(example.key, set()).add(example.split)
    assert all(len(found) == 1 for found in splits.values())
    assert {"train", "test"} == set().union(*splits.values())
