"""Several calls in one text: each stays a call, in order, or the record is reported; never one garbled call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data.samples import react, trajectory
from llamafactory_ext.data.public.convert import Conversion, Request, convert

pytestmark = pytest.mark.fast


def run(name: str, records: Any, folder: Path, file_name: str) -> tuple[Conversion, list[Any]]:
    source = folder / file_name
    source.write_text(json.dumps(records), encoding="utf-8")
    result = convert(Request(name, source, folder / "out"))
    return result, json.loads(result.output.read_text(encoding="utf-8"))


def turns(record: Any) -> list[tuple[str, str]]:
    return [(message["from"], message["value"]) for message in record["conversations"]]


LAMP = '{"name": "set_lamp", "arguments": \'{"level": 3, "note": "it\\\'s dark"}\'}'
OFF = '{"name": "off", "arguments": \'{}\'}'
BARE = '{"name": "off", "arguments": {"room": "<functioncall> {\\"name\\": \\"x\\"}"}}'
READ = {
    LAMP: {"name": "set_lamp", "arguments": {"level": 3, "note": "it's dark"}},
    OFF: {"name": "off", "arguments": {}},
    BARE: {"name": "off", "arguments": {"room": '<functioncall> {"name": "x"}'}},
    '{"name": "off"}': {"name": "off", "arguments": {}},
    '{"name": "off", "arguments": \'{"a": "\'} "}\'}': {"name": "off", "arguments": {"a": "'} "}},
    '{"name": "off", "arguments": \'{"a": }\'}': {"name": "off", "arguments": '{"a": }'},
    '{"name": "off", "arguments": {"a": }}': {"name": "off", "arguments": '{"a": }'},
}


@pytest.mark.parametrize("between", ["", " <|endoftext|>\n"])
@pytest.mark.parametrize("first", READ)
def test_several_calls_of_a_glaive_turn_stay_apart(tmp_path: Path, first: str, between: str) -> None:
    system = 'SYSTEM: -\n{"name": "set_lamp", "parameters": {}}\n\n{"name": "off", "parameters": {}}'
    records = []
    for second in READ:
        said = between.join(f"<functioncall> {call}" for call in (first, second, LAMP))
        records.append({"system": system, "chat": f"USER: Dim it.\n\n\nASSISTANT: Gladly. {said} <|endoftext|>\n\n\n"})
    _, kept = run("glaive", records, tmp_path, "glaive-function-calling-v2.json")
    for second, record in zip(READ, kept, strict=True):
        (role, value) = turns(record)[1]
        assert role == "function_call"
        assert value.startswith("Gladly.\n<tool_call>")
        made = json.loads(value.removeprefix("Gladly.\n<tool_call>").removesuffix("</tool_call>"))
        assert made == [READ[first], READ[second], READ[LAMP]]


@pytest.mark.parametrize(
    "said",
    [
        f"<functioncall> {LAMP} and <functioncall> {OFF}",
        f"<functioncall> {LAMP} Done.",
        f"<functioncall> {LAMP} <functioncall> ",
        f"<functioncall> <functioncall> {LAMP}",
        f'<functioncall> {{"name": "off", "args": 1}} <functioncall> {LAMP}',
        f"<functioncall> {LAMP[:-3]} <functioncall> {OFF}",
    ],
)
def test_glaive_calls_that_cannot_be_told_apart_are_reported(tmp_path: Path, said: str) -> None:
    record = {"system": "SYSTEM: -", "chat": f"USER: Dim it.\n\n\nASSISTANT: {said} <|endoftext|>"}
    result, kept = run("glaive", [record], tmp_path, "glaive-function-calling-v2.json")
    assert turns(kept[0])[1] == ("gpt", said.strip())
    assert any("<functioncall>" in note.reason for note in result.findings)


def test_glaive_calls_one_after_another_in_upstream_s_layout_are_a_list(tmp_path: Path) -> None:
    tools = '[{"name": "a"}, {"name": "b"}]'
    one, two = '{"name": "a", "arguments": {}}', '{"name": "b", "arguments": {"x": "}{"}}'
    both = f"[{one}, {two}]"
    texts = {one: one, f"{one}\n{two}": both, f"{one}, {two}": both, f"{one} {{": f"{one} {{"}
    records = [
        {"conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": text}], "tools": tools}
        for text in texts
    ]
    result, kept = run("glaive", records, tmp_path, "glaive_toolcall_en.json")
    assert [turns(record)[1][1] for record in kept] == list(texts.values())
    assert [note.place for note in result.findings] == ["index 3"]


def test_several_calls_of_one_react_text_stay_apart(tmp_path: Path) -> None:
    first, second = (f"Action: {name}\nAction Input: " for name in ("set_lamp", "finish"))
    both = f'Thought: both\n{first}{{"level": "3"}}\n{second}{{"answer": "x"}}'
    spaced = both.replace("\nAction: finish", "\n\nThought: and now\nAction: finish")
    broken = both.replace('"3"', "3 lux")
    result, records = run("rotbench", [react(both), react(spaced), react(broken)], tmp_path, "clean.json")
    made = [{"name": "set_lamp", "arguments": {"level": "3"}}, {"name": "finish", "arguments": {"answer": "x"}}]
    for record in records:
        value = turns(record)[1][1]
        assert json.loads(value.partition("<tool_call>")[2].removesuffix("</tool_call>")) == made
    assert [(drop.place, drop.reason) for drop in result.dropped] == [("index 2", "no gold call")]
    assert len(records) == 2


def test_several_calls_of_one_tl_training_text_stay_apart(tmp_path: Path) -> None:
    two = 'set_lamp\n{"level": 3}\nset_lamp\n{"level": 4}'
    texts = [two, two.replace("\n", "\n\n"), two.replace("3}", "3"), 'set_lamp\n{"level": 3}\nDone.']
    records = [trajectory(("user", "Dim."), ("assistant", text)) for text in texts]
    _, kept = run("tl_training", records, tmp_path, "raw_data.json")
    made = [{"name": "set_lamp", "arguments": {"level": level}} for level in (3, 4)]
    assert [json.loads(turns(record)[1][1]) for record in kept[:2]] == [made, made]
    assert turns(kept[2])[1] == ("gpt", texts[2])
    assert json.loads(turns(kept[3])[1][1])["arguments"] == '{"level": 3}\nDone.'
