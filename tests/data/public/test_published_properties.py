"""Generated records of each layout: their calls come out in order; damage gives a reason, never a traceback."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.samples import SAMPLES, apigen_mt, hermes, json_mode, toolace, xlam
from llamafactory_ext.data.checks.audit import call_faults
from llamafactory_ext.data.dialogues import order_fault
from llamafactory_ext.data.entries import Dialogue
from llamafactory_ext.data.family import Drop, Example, Foreign
from llamafactory_ext.data.public.convert import FAMILIES
from llamafactory_ext.data.public.type_names import read_type
from llamafactory_ext.templates.messages import read_calls

pytestmark = pytest.mark.fast
NEW = ("xlam", "toolace", "hermes", "apigen_mt")
QUICK = settings(max_examples=40, deadline=None)

# Texts with what the layouts themselves are made of, so that a value never passes for a part of its record.
PARTS = st.sampled_from(
    [
        *"[](){}<>,:='\"\\/\n\t ",
        "<tool_call>",
        "</tool_call>",
        "<think>",
        "</think>",
        "</tools>",
        "[f(",
        ")]",
        "é",
        "😀",
    ]
)
TEXTS = st.lists(st.one_of(PARTS, st.text(st.characters(codec="utf-8"), max_size=4)), max_size=6).map("".join)
NUMBERS = st.one_of(st.integers(-(10**18), 10**18), st.floats(allow_nan=False, allow_infinity=False))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
NAMES = st.sampled_from(["set_lamp", "Set Lamp", "home/lamps.List All", "a.b", "Überblick (v2)", "1-off"])
PARAMETERS = st.sampled_from(["level", "from", "is-on", "$filter", "page size", "sort.by", "Größe"])
CALLS = st.lists(st.tuples(NAMES, st.dictionaries(PARAMETERS, VALUES, max_size=3)), min_size=1, max_size=4)
TURNS = st.lists(CALLS, min_size=1, max_size=3)


def declared(turns: list[Any]) -> list[dict[str, Any]]:
    names = dict.fromkeys(name for calls in turns for name, _ in calls)
    schema = {"type": "object", "properties": {}, "required": []}
    return [{"name": name, "description": "", "parameters": schema} for name in names]


def objects(calls: Any) -> list[dict[str, Any]]:
    return [{"name": name, "arguments": arguments} for name, arguments in calls]


def stated(example: Any) -> list[Any]:
    """The calls of each turn, as templates read them."""
    assert isinstance(example, Example), example
    found = []
    for message in example.columns["conversations"]:
        if message["from"] == "function_call":
            turn = read_calls(message["value"])
            assert turn is not None, message
            found.append([(call.name, call.arguments) for call in turn.calls])
    return found


def same(found: Any, expected: Any) -> bool:
    """Equal values of equal types: true is not 1, and 1 is not 1.0."""
    return repr(found) == repr(expected)


def usable(outcome: Any) -> None:
    """What every outcome must be: upstream and `data check` take the example, or there is a reason."""
    if isinstance(outcome, Drop):
        assert outcome.reason
        return
    if isinstance(outcome, Foreign):
        assert outcome.fault
        return
    turns = [(message["from"], message["value"]) for message in outcome.columns["conversations"]]
    assert order_fault([role for role, _ in turns]) is None
    assert call_faults(Dialogue(tuple(turns), outcome.columns["system"], outcome.columns["tools"]))[0] == []
    for role, text in turns:
        assert isinstance(text, str)
        for call in read_calls(text).calls if role == "function_call" else ():  # type: ignore[union-attr]
            assert isinstance(call.arguments, dict)
    json.dumps(outcome.columns, allow_nan=False)


@QUICK
@given(calls=CALLS, decoded=st.booleans(), ascii_only=st.booleans())
def test_xlam(calls: Any, decoded: bool, ascii_only: bool) -> None:
    answers: Any = objects(calls)
    tools: Any = declared([calls])
    if not decoded:
        answers, tools = (json.dumps(value, ensure_ascii=ascii_only, indent=1) for value in (answers, tools))
    found = stated(FAMILIES["xlam"].read(xlam(answers=answers, tools=tools)))
    assert same(found, [calls])


@QUICK
@given(turns=TURNS, python=st.booleans(), space=st.sampled_from(["", " ", "\n"]))
def test_toolace(turns: Any, python: bool, space: str) -> None:
    write = repr if python else lambda value: json.dumps(value, ensure_ascii=False)
    messages = [("user", "Do it.")]
    for calls in turns:
        listed = [
            f"{name}({', '.join(f'{key}{space}={write(one)}' for key, one in given.items())})" for name, given in calls
        ]
        messages += [("assistant", f"[{space}{f',{space}'.join(listed)}]"), ("tool", "[]")]
    record = toolace(*messages, ("assistant", "Done."), tools=declared(turns))
    assert same(stated(FAMILIES["toolace"].read(record)), turns)


@QUICK
@given(
    turns=TURNS,
    python=st.booleans(),
    one_tag=st.booleans(),
    thought=st.sampled_from(["", "<think>a [b</think>\n", "So:\n"]),
)
def test_hermes(turns: Any, python: bool, one_tag: bool, thought: str) -> None:
    write = repr if python else json.dumps
    messages = [("human", "Do it.")]
    for calls in turns:
        listed = [objects(calls)] if one_tag else objects(calls)
        texts = [f"<tool_call>\n{write(call)}\n</tool_call>" for call in listed]
        messages += [("gpt", thought + "\n".join(texts)), ("tool", "<tool_response>\n1\n</tool_response>")]
    record = hermes(*messages, ("gpt", "Done."), tools=write(declared(turns)))
    outcome = FAMILIES["hermes"].read(record)
    assert same(stated(outcome), turns)
    assert isinstance(outcome, Example)
    calling = [message for message in outcome.columns["conversations"] if message["from"] == "function_call"]
    read = [read_calls(message["value"]) for message in calling]
    assert [turn.thought if turn else None for turn in read] == [thought.strip()] * len(turns)


@QUICK
@given(turns=TURNS, parallel=st.booleans())
def test_apigen_mt(turns: Any, parallel: bool) -> None:
    messages = [("human", "Do it.")]
    for calls in turns:
        texts = [("function_call", json.dumps(call)) for call in objects(calls)]
        results = [("observation", f"result {number}") for number in range(len(texts))]
        pairs = [message for pair in zip(texts, results, strict=True) for message in pair]
        messages += [*texts, *results] if parallel else pairs
    record = apigen_mt(*messages, ("gpt", "Done."), tools=json.dumps(declared(turns)))
    expected = turns if parallel else [[call] for calls in turns for call in calls]
    outcome = FAMILIES["apigen_mt"].read(record)
    assert same(stated(outcome), expected)
    assert isinstance(outcome, Example)
    assert outcome.findings == ()


PLACES = st.lists(st.integers(0, 30), min_size=1, max_size=6)
JUNK = st.one_of(
    VALUES, st.sampled_from([math.nan, math.inf, "[" * 2000, "{'a': " * 200, "\ud800", -(10**4200), [[]] * 3])
)


def damaged(value: Any, place: list[int], junk: Any, cut: int) -> Any:
    """The value with one thing inside it replaced, left out or cut short, at a place that `place` leads to."""
    if isinstance(value, dict | list) and value and len(place) > 1:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = keys[place[0] % len(keys)]
        if cut == 0 and len(place) == 2:
            del value[key]
        else:
            value[key] = damaged(value[key], place[1:], junk, cut)
        return value
    if isinstance(value, str) and cut % 2:
        at = (cut * 7919 + sum(place)) % (len(value) + 1)
        return value[:at] if cut % 3 else value[:at] + (junk if isinstance(junk, str) else "]") + value[at + 1 :]
    return junk


@settings(max_examples=250, deadline=None)
@given(family=st.sampled_from(NEW), place=PLACES, junk=JUNK, cut=st.integers(0, 400))
def test_damage_gives_a_reason(family: str, place: list[int], junk: Any, cut: int) -> None:
    record = copy.deepcopy(SAMPLES[family][0] if cut % 11 else json_mode())
    usable(FAMILIES[family].read(damaged(record, place, junk, cut)))


@QUICK
@given(family=st.sampled_from(NEW), words=TEXTS, system=TEXTS)
def test_any_words_are_usable_or_have_a_reason(family: str, words: str, system: str) -> None:
    for record in (
        xlam(words),
        toolace(("user", words), ("assistant", words), ("user", "x"), ("assistant", f"[Set Lamp(level={words})]")),
        hermes(("human", words), ("gpt", words), ("human", "x"), ("gpt", f"{words}<tool_call>{words}</tool_call>")),
        hermes(("human", words), ("gpt", words), tools=words),
        apigen_mt(("human", words), ("gpt", words), ("function_call", words), ("observation", words), system=system),
        toolace(("user", "x"), ("assistant", "y")) | {"system": system},
        json_mode(system),
    ):
        usable(FAMILIES[family].read(record))


def annotations(depth: int = 3) -> st.SearchStrategy[tuple[str, Any]]:
    """Types as Python writes them, and what they are in JSON Schema."""
    plain = st.sampled_from(
        [
            ("str", {"type": "string"}),
            ("int", {"type": "integer"}),
            ("float", {"type": "number"}),
            ("bool", {"type": "boolean"}),
            ("dict", {"type": "object"}),
            ("list", {"type": "array"}),
        ]
    )
    if depth == 0:
        return plain
    inner = annotations(depth - 1)
    return st.one_of(
        plain,
        inner.map(lambda one: (f"List[{one[0]}]", {"type": "array", "items": one[1]})),
        inner.map(lambda one: (f"Dict[str, {one[0]}]", {"type": "object", "additionalProperties": one[1]})),
        inner.map(
            lambda one: (
                f"Tuple[{one[0]}, {one[0]}]",
                {"type": "array", "items": one[1], "minItems": 2, "maxItems": 2},
            )
        ),
    )


@QUICK
@given(annotation=annotations(), optional=st.sampled_from(["", ", optional", ",optional", " (optional)", "?"]))
def test_types_are_read_in_all_their_depth(annotation: tuple[str, Any], optional: str) -> None:
    read = read_type(annotation[0] + optional)
    assert (read.schema, read.optional, read.known) == (annotation[1], bool(optional), True)


@pytest.mark.parametrize(
    ("text", "schema", "optional", "known"),
    [
        ("Union[int, float]", {"type": "number"}, False, True),
        ("Union[str, int]", {"type": ["string", "integer"]}, False, True),
        ("int or str", {"type": ["string", "integer"]}, False, True),
        ("str | None", {"type": ["string", "null"]}, False, True),
        (
            "Union[str, List[str]]",
            {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
            False,
            True,
        ),
        ("Optional[List[int]]", {"type": "array", "items": {"type": "integer"}}, True, True),
        ("typing.List[str]", {"type": "array", "items": {"type": "string"}}, False, True),
        ("list of str", {"type": "array", "items": {"type": "string"}}, False, True),
        (
            "List[Tuple[int, float]]",
            {"type": "array", "items": {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}},
            False,
            True,
        ),
        ("Tuple[int, ...]", {"type": "array", "items": {"type": "integer"}}, False, True),
        ("Dict[str, Any]", {"type": "object"}, False, True),
        ("Callable[[float], float]", {"type": "string"}, False, True),
        ("Literal['a', 'b']", {"enum": ["a", "b"]}, False, True),
        ("Any", {}, False, True),
        ("", {}, False, True),
        ("str, default='x'", {"type": "string"}, True, True),
        ("int, optional, default is 5", {"type": "integer"}, True, True),
        ("Lumen", {}, False, False),
        ("List[Lumen]", {"type": "array"}, False, False),
        ("List[", {"type": "array"}, False, False),
        ("[" * 5000, {}, False, False),
        ("List[" * 5000, {"type": "array"}, False, False),
    ],
)
def test_types(text: str, schema: Any, optional: bool, known: bool) -> None:
    read = read_type(text)
    if isinstance(read.schema.get("type"), list):
        read.schema["type"].sort(key=("string", "integer", "null").index)
    assert (read.schema, read.optional, read.known) == (schema, optional, known)


@given(text=st.text(st.sampled_from("LUOist[](){}<>|,=? or.\"'0"), max_size=20))
def test_any_text_is_a_type_or_unknown(text: str) -> None:
    assert isinstance(read_type(text).schema, dict)
