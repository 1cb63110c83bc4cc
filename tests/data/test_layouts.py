"""One function makes the same dialogue of a record in whatever layout it is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data.layout_reading import CITY, DONE, TOOL, USER, calls, read
from llamafactory_ext.data.checks.audit import UNDECLARED, audit
from llamafactory_ext.data.entries import DataEntry, Dialogue
from llamafactory_ext.data.message_parts import Words
from llamafactory_ext.data.mix import Recipe, mix
from llamafactory_ext.serving.infer.questions import of_file
from llamafactory_ext.templates.messages import RESULT_SEPARATOR
from llamafactory_ext.tl.statistics import error_statistics

pytestmark = pytest.mark.fast


def turns(*messages: Any, **more: Any) -> list[tuple[str, str]]:
    found = read({"messages": [USER, *messages], **more})
    assert isinstance(found, Dialogue), found
    return list(found.turns)


@pytest.mark.parametrize(
    "arguments",
    [{"city": "Paris"}, '{"city": "Paris"}', '{\n "city" : "Paris"}', '"{\\"city\\": \\"Paris\\"}"'],
    ids=["object", "text", "other blanks", "text of a text"],
)
def test_arguments_are_an_object_however_they_are_written(arguments: Any) -> None:
    assert json.loads(turns(calls({"name": "get_weather", "arguments": arguments}), DONE)[1][1]) == CITY


@pytest.mark.parametrize("arguments", [None, "", " ", "{}", {}, "null"])
def test_no_arguments_are_an_empty_object(arguments: Any) -> None:
    assert json.loads(turns(calls({"name": "now", "arguments": arguments}))[1][1]) == {"name": "now", "arguments": {}}


def test_a_null_that_the_record_states_stays() -> None:
    stated = {"name": "f", "arguments": {"a": None, "b": [None]}}
    assert json.loads(turns(calls(stated))[1][1]) == stated


@pytest.mark.parametrize("arguments", ["{city", "[1]", 7, '{"a": NaN}'])
def test_arguments_that_are_none_are_told_with_their_turn(arguments: Any) -> None:
    found = read({"messages": [USER, calls({"name": "f", "arguments": arguments}), DONE]})
    assert found == "turn 2: the arguments of 'f' are no JSON object; write one"


def test_words_beside_calls_come_first_and_a_thought_before_them() -> None:
    text = turns(calls(CITY, content="I look."), DONE)[1][1]
    assert text == f"I look.\n<tool_call>{json.dumps(CITY)}</tool_call>"
    text = turns(calls(CITY, content="I look.", reasoning_content="hm"), DONE)[1][1]
    assert text == f"<think>\nhm\n</think>\n\nI look.\n<tool_call>{json.dumps(CITY)}</tool_call>"
    assert turns({**DONE, "reasoning": "hm"})[1] == ("gpt", "<think>\nhm\n</think>\n\nok")


def test_a_template_lends_its_words_for_the_thought() -> None:
    record = {"messages": [USER, calls(CITY, reasoning_content="hm"), {**DONE, "reasoning_content": "so"}]}
    found = read(record, Words(("[T]", "[/T]"), ("[C]", "[/C]")))
    assert isinstance(found, Dialogue)
    assert [text for _, text in found.turns] == ["Go", f"[T]hm[/T][C]{json.dumps(CITY)}[/C]", "[T]so[/T]ok"]


def test_a_template_without_a_place_for_words_beside_calls_loses_them_with_a_word() -> None:
    found = read({"messages": [USER, calls(CITY, content="I look."), DONE]}, Words(call=None))
    assert isinstance(found, Dialogue)
    assert json.loads(found.turns[1][1]) == CITY
    assert [number for number, _ in found.lost] == [2]


def test_marks_of_calls_within_arguments_stay_text() -> None:
    tricky = {"name": "f", "arguments": {"a": "<tool_call>x</tool_call> <think>y</think>"}}
    body = turns(calls(tricky))[1][1]
    assert "<" not in body
    assert json.loads(body) == tricky
    found = read({"messages": [USER, calls(CITY, content="I write <tool_call> here."), DONE]})
    assert isinstance(found, str)
    assert found.startswith("turn 2: the words beside its calls hold")


def test_several_calls_are_a_list_and_their_results_one_turn() -> None:
    two = calls(CITY, {"name": "f", "arguments": "{}"})
    found = turns(two, {"role": "tool", "content": "1"}, {"role": "tool", "content": {"b": 2}}, DONE)
    assert [call["name"] for call in json.loads(found[1][1])] == ["get_weather", "f"]
    assert found[2] == ("observation", "1" + RESULT_SEPARATOR + '{"b": 2}')


def test_the_older_way_of_calling() -> None:
    old = {
        "role": "assistant",
        "content": None,
        "function_call": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
    }
    found = turns(
        old, {"role": "function", "name": "get_weather", "content": "20"}, DONE, functions=[TOOL["function"]]
    )
    assert [role for role, _ in found] == ["human", "function_call", "observation", "gpt"]
    record = {"messages": [USER, old], "functions": [TOOL["function"]]}
    dialogue = read(record)
    assert isinstance(dialogue, Dialogue)
    assert json.loads(dialogue.tools) == [TOOL["function"]]


def test_upstreams_role_function_is_a_call() -> None:
    found = turns({"role": "function", "content": json.dumps(CITY)}, {"role": "tool", "content": "20"}, DONE)
    assert [role for role, _ in found] == ["human", "function_call", "observation", "gpt"]


def test_system_and_developer_texts_are_the_system_text() -> None:
    messages = [{"role": "system", "content": "A"}, {"role": "developer", "content": "B"}, USER, DONE]
    found = read({"messages": messages})
    assert isinstance(found, Dialogue)
    assert (found.system, len(found.turns)) == ("A\n\nB", 2)


@pytest.mark.parametrize("tools", [[TOOL], json.dumps([TOOL]), TOOL, json.dumps(TOOL), [json.dumps(TOOL)]])
def test_tools_are_json_text_of_a_list(tools: Any) -> None:
    found = read({"messages": [USER, DONE], "tools": tools})
    assert isinstance(found, Dialogue)
    assert json.loads(found.tools) == [TOOL]


def test_parts_of_a_content() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}, {"type": "text", "text": "b"}]
    found = read({"messages": [{"role": "user", "content": parts}, {**DONE, "refusal": "no"}]})
    assert isinstance(found, Dialogue)
    assert found.turns[0] == ("human", "a\nb")
    assert found.lost == ((1, 'a part of type "image_url" is not kept'), (2, '"refusal" is not kept'))


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ({"role": "assistant", "content": None}, 'turn 2: a message holds a "content" that is no text'),
        ({"role": "assistant", "content": 7}, 'turn 2: a message holds a "content" that is no text'),
        (
            {"role": "user", "content": "", "tool_calls": [{"function": CITY}]},
            'turn 2: it holds calls, but is of "user"',
        ),
        ({"role": "assistant", "tool_calls": [{"function": {"arguments": {}}}]}, "turn 2: a call has no name"),
        ({"role": "assistant"}, "a message in \"messages\" lacks 'role' or 'content'"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_turn(message: dict[str, Any], fault: str) -> None:
    found = read({"messages": [USER, message]})
    assert isinstance(found, str)
    assert found.startswith(fault)


def test_sharegpt_calls_with_json_text_or_in_several_blocks_are_read_whole() -> None:
    entry = {"formatting": "sharegpt", "columns": {"messages": "conversations"}}

    def text(value: str) -> str:
        said = [{"from": "human", "value": "Go"}, {"from": "function_call", "value": value}]
        found = read({"conversations": said}, **entry)
        assert isinstance(found, Dialogue)
        return found.turns[1][1]

    assert json.loads(text('{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}')) == CITY
    other = {"name": "f", "arguments": {}}
    blocks = f"<tool_call>{json.dumps(CITY)}</tool_call>\n<tool_call>{json.dumps(other)}</tool_call>"
    assert json.loads(text(blocks)) == [CITY, other]
    assert json.loads(
        text(f"I look.\n{blocks}").removeprefix("I look.\n<tool_call>").removesuffix("</tool_call>")
    ) == [
        CITY,
        other,
    ]
    assert text(json.dumps(CITY)) == json.dumps(CITY)


# Recognised without an entry


@pytest.mark.parametrize(
    ("record", "formatting"),
    [
        ({"messages": [USER, DONE]}, "openai"),
        ({"conversations": [USER, DONE]}, "openai"),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, "sharegpt"),
        ({"messages": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, "sharegpt"),
        ({"instruction": "a", "input": "", "output": "b"}, "alpaca"),
    ],
)
def test_a_file_without_an_entry_is_read_by_its_keys(tmp_path: Path, record: Any, formatting: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(record) + "\n")
    entry = DataEntry.of_file(path)
    assert entry.entry.get("formatting", "alpaca") == formatting
    found = entry.dialogue(record)
    assert isinstance(found, Dialogue)
    assert [role for role, _ in found.turns] == ["human", "gpt"]


# What check says


def test_hallucinated_calls_whose_feedback_reports_the_error_are_remarks(tmp_path: Path) -> None:
    def record(feedback: str) -> dict[str, Any]:
        other = {"name": "get_sun", "arguments": {}}
        return {"messages": [USER, calls(other), {"role": "tool", "content": feedback}, DONE], "tools": [TOOL]}

    path = tmp_path / "x.json"
    path.write_text(json.dumps([record('{"error": "There is no tool named get_sun."}'), record("sunny")]))
    found = audit(DataEntry.of_file(path))
    assert found.lines() == [f"{path}, index 1: {UNDECLARED}"]
    assert [line for line in found.remarks.lines() if "reports the error" in line and "index 0" in line]


def test_types_that_nothing_reads_and_a_byte_order_mark_are_remarks(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    records = [
        {"messages": [USER, DONE], "id": 1, "meta": {"a": "x"}},
        {"messages": [USER, DONE], "id": "b", "meta": {"a": []}},
    ]
    path.write_text("\ufeff" + json.dumps(records), encoding="utf-8")
    found = audit(DataEntry.of_file(path))
    assert found.lines() == []
    remarks = "\n".join(found.remarks.lines())
    assert '"id" holds numbers and texts' in remarks
    assert '"meta.a" holds lists and texts' in remarks
    assert "byte order mark" in remarks


# Every command reads it


def test_mixtures_statistics_and_questions_read_messages(tmp_path: Path) -> None:
    failed = {"role": "tool", "content": '{"error": "There is no city."}'}
    quiet = {**calls(CITY, content="I look."), "loss": False}
    tool = [{"messages": [USER, quiet, failed, calls(CITY), {"role": "tool", "content": "20"}, DONE], "tools": [TOOL]}]
    talk = [{"messages": [USER, {**DONE, "refusal": "no"}]}]
    info = {}
    for name, records in (("calls", tool), ("talk", talk)):
        (tmp_path / f"{name}.json").write_text(json.dumps(records))
        mark = "tool" if name == "calls" else "general"
        info[name] = {"file_name": f"{name}.json", "formatting": "openai", "mark": mark}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))

    mixed = mix(Recipe(("calls",), ("talk",), 1, "mixed", tmp_path))
    assert dict(mixed.lost) == {'"refusal" is not kept': 1}
    for source, place in (("calls", 0), ("talk", 1)):
        before = DataEntry.named(source, tmp_path).dialogue([*tool, *talk][place])
        entry = DataEntry.named("mixed", tmp_path)
        after = entry.dialogue([record for _, record in entry.records()][place])
        assert isinstance(before, Dialogue)
        assert isinstance(after, Dialogue)
        assert after == replace(before, lost=())

    counted = error_statistics(DataEntry.named("calls", tmp_path))
    assert (counted.calls.total(), counted.faulty, counted.trajectories) == (2, 1, 1)
    asked = of_file(tmp_path / "talk.json", "mine")
    assert [turn.content for turn in asked.questions[0].turns] == ["Go"]
    assert asked.notes == ('talk.json, index 0, turn 2: "refusal" is not kept',)
    (question,) = of_file(tmp_path / "calls.json", "mine").questions
    assert [turn.role for turn in question.turns] == ["user", "function", "observation", "function", "observation"]
    assert [tool.name for tool in question.tools] == ["get_weather"]


_CALL = json.dumps(CITY)


@pytest.mark.parametrize(
    "text",
    [
        _CALL,
        f"<think>\nso\n</think>\n\n{_CALL}",
        f"<think>so</think>{_CALL}",
        f"<think>so</think>\n<tool_call>\n{_CALL}\n</tool_call>",
        f"<thinking>so</thinking>\n{_CALL}",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>",
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n</tool_call>",
        f"<tool_call>\n{_CALL}",
    ],
)
@pytest.mark.parametrize("words", [Words(), Words(call=("[TOOL_CALLS]", "[/TOOL_CALLS]")), Words(call=None)])
def test_a_turn_of_calls_is_what_upstream_reads(text: str, words: Words) -> None:
    """Between the template's own marks, or behind a thought between its own words, upstream reads JSON alone."""
    messages = [{"from": "human", "value": "Go"}, {"from": "function_call", "value": text}]
    entry = {"formatting": "sharegpt", "columns": {"messages": "m"}}
    found = read(
        {"m": [*messages, {"from": "observation", "value": "1"}, {"from": "gpt", "value": "ok"}]}, words, **entry
    )
    assert isinstance(found, Dialogue), found
    written = found.turns[1][1]
    if words.call is not None and words.call[0] in written:
        inner = written.partition(words.call[0])[2].partition(words.call[1])[0]
    else:
        before, _, rest = written.partition(words.thought[0])
        inner = before + (rest.partition(words.thought[1])[2] if rest else "")
    assert json.loads(inner) == CITY
    if "so" in text and words.call is not None:
        assert "so" in written
