"""APIGen-MT: pairs of calls and observations, several calls in a row, a policy."""

from __future__ import annotations

import json

import pytest

from data.published import read, said
from data.samples import SAMPLES, apigen_mt
from llamafactory_ext.data.public import turns

pytestmark = pytest.mark.fast


def test_apigen_pairs_follow_each_other_and_calls_in_a_row_become_one_turn() -> None:
    call, other = '{"name": "set_lamp", "arguments": {"level": 3}}', '{"name": "finish", "arguments": {}}'
    record = apigen_mt(
        ("human", "a"),
        ("gpt", "Wait."),
        ("function_call", call),
        ("function_call", other),
        ("observation", "1"),
        ("observation", "2"),
        ("function_call", f"[{other}, {call}]"),
        ("observation", "3"),
        ("gpt", "b"),
        ("human", "c"),
        ("human", "d"),
        ("gpt", "e"),
        ("human", "###STOP###"),
    )
    example = read("apigen_mt", record)
    lamp, finish = ("set_lamp", {"level": 3}), ("finish", {})
    assert said(example) == [
        ("human", "a"),
        ("function_call", ("Wait.", [lamp, finish])),
        ("observation", ["1", "2"]),
        ("function_call", ("", [finish, lamp])),
        ("observation", ["3"]),
        ("gpt", "b"),
        ("human", "c\nd"),
        ("gpt", "e"),
    ]
    assert example.findings == (turns.SAME_SIDE, turns.NO_ANSWER, turns.RESULTS_DIFFER)
    assert example.columns["system"] == "# Policy\nBe kind."


def test_apigen_variants_are_read() -> None:
    expected = read("apigen_mt", SAMPLES["apigen_mt"][0])
    record = json.loads(json.dumps(SAMPLES["apigen_mt"][0]))
    record["tools"] = json.loads(record["tools"])
    for message in record["conversations"]:
        if message["from"] == "function_call":
            message["value"] = json.loads(message["value"])
    assert read("apigen_mt", record) == expected
    record["conversations"].insert(0, {"from": "system", "value": record.pop("system")})
    assert read("apigen_mt", record) == expected
    greeted = apigen_mt(("gpt", "Hello!"), ("human", "Hi"), ("gpt", "How?"))
    assert said(read("apigen_mt", greeted)) == [("human", "Hi"), ("gpt", "How?")]
    assert read("apigen_mt", greeted).findings == (turns.OPENS_WITH_ANSWER,)
