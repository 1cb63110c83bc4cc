"""One function makes the same dialogue of a record in whatever layout it is written, and says what it cannot keep."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.data.checks.audit import UNDECLARED, audit
from llamafactory_ext.data.entries import DataEntry, Dialogue
from llamafactory_ext.data.message_parts import Words
from llamafactory_ext.data.mix import Recipe, mix
from llamafactory_ext.serving.infer.questions import of_file
from llamafactory_ext.templates.messages import RESULT_SEPARATOR
from llamafactory_ext.tl.statistics import error_statistics

pytestmark = pytest.mark.fast

OPENAI = {"file_name": "x.json", "formatting": "openai"}
CITY = {"name": "get_weather", "arguments": {"city": "Paris"}}
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "w", "parameters": {}}}
USER = {"role": "user", "content": "Go"}
DONE = {"role": "assistant", "content": "ok"}


def read(record: Any, words: Words | None = None, **entry: Any) -> Dialogue | str:
    read = DataEntry.of("x", {**OPENAI, **entry}, Path("x.json"))
    return read.dialogue(record) if words is None else read.dialogue(record, words)


def calls(*given: Any, content: Any = None, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": [{"function": one} for one in given], **more}


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


def _call_turn(value: str, words: Words | None = None, **more: Any) -> Dialogue:
    entry = {"formatting": "sharegpt", "columns": {"messages": "conversations"}}
    said = [{"from": "human", "value": "Go"}, {"from": "function_call", "value": value, **more}]
    found = read({"conversations": said}, words, **entry)
    assert isinstance(found, Dialogue), found
    return found


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking"])
@pytest.mark.parametrize("words", [None, Words(("[T]", "[/T]"), ("[C]", "[/C]"))], ids=["default", "own words"])
@pytest.mark.parametrize(
    ("value", "said", "expected"),
    [
        (json.dumps(CITY), "", CITY),
        (f"I look.\n<tool_call>{json.dumps(CITY)}</tool_call>", "I look.\n", CITY),
        (json.dumps([CITY, CITY]), "", [CITY, CITY]),
        ('{"name": "f", "arguments": null}', "", {"name": "f", "arguments": {}}),
    ],
)
def test_a_thought_in_a_member_stands_before_the_calls_of_a_sharegpt_turn(
    value: str, said: str, expected: Any, words: Words | None, key: str
) -> None:
    found = _call_turn(value, words, **{key: "plan"})
    used = words or Words()
    assert used.call is not None
    assert found.lost == ()
    before, _, rest = found.turns[1][1].partition(used.call[0])
    assert before == f"{used.thought[0]}plan{used.thought[1]}{said}"
    assert json.loads(rest.removesuffix(used.call[1])) == expected


def test_a_thought_without_a_place_beside_the_calls_of_a_sharegpt_turn_is_told() -> None:
    found = _call_turn(json.dumps(CITY), Words(call=None), reasoning_content="plan")
    assert json.loads(found.turns[1][1]) == CITY
    assert [number for number, _ in found.lost] == [2]


@pytest.mark.parametrize(
    "value",
    [
        '{"name": "f", "arguments": null}',
        '{"name": "f", "arguments": ""}',
        '{"name": "f", "arguments": "null"}',
        '{"name": "f"}',
        '{"arguments" : null, "name": "f"}',
    ],
)
def test_no_arguments_of_a_sharegpt_call_are_an_empty_object(value: str) -> None:
    none = {"name": "f", "arguments": {}}
    assert json.loads(_call_turn(value).turns[1][1]) == none
    assert json.loads(_call_turn(f"[{json.dumps(CITY)}, {value}]").turns[1][1]) == [CITY, none]
    assert (
        json.loads(
            _call_turn(f"hm\n<tool_call>{value}</tool_call>").turns[1][1].partition("<tool_call>")[2].partition("<")[0]
        )
        == none
    )


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


# A record's own marks


def silent(record: dict[str, Any], **entry: Any) -> list[int]:
    found = read(record, **entry)
    assert isinstance(found, Dialogue), found
    return sorted(found.silent)


LONG = [USER, calls(CITY), {"role": "tool", "content": "1"}, {"role": "tool", "content": "2"}, DONE, USER, DONE]


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        ([0, 1, 0, 0, 1, 0, 1], []),
        ([0, 0, 0, 0, 1, 0, 1], [1]),
        ([1, 1, 1, 1, 0, 1, 1], [3]),
        ([1, 0, 1], [3]),
        ([False, True, False], [1, 5]),
        (None, []),
    ],
)
def test_a_loss_mask_counts_messages_or_turns_of_the_model_as_the_record_has_them(
    mask: Any, expected: list[int]
) -> None:
    assert silent({"messages": LONG, "loss_mask": mask}) == expected


_SYSTEM = {"role": "system", "content": "S"}
_RESULT = {"role": "tool", "content": "1"}
_TWO_ROUNDS = [USER, calls(CITY), _RESULT, _RESULT, calls(CITY), _RESULT, _RESULT, _RESULT, DONE]


@pytest.mark.parametrize(
    ("messages", "mask", "expected"),
    [
        ([_SYSTEM, USER, calls(CITY), _RESULT, _RESULT, DONE], [1, 1, 0, 1, 1, 1], [1]),
        ([_SYSTEM, USER, calls(CITY), _RESULT, _RESULT, DONE], [0, 0, 1, 0, 0, 0], [3]),
        ([_SYSTEM, USER, calls(CITY), _RESULT, _RESULT, DONE], [0, 1], [1]),
        (_TWO_ROUNDS, [1, 1, 1, 1, 0, 1, 1, 1, 1], [3]),
        (_TWO_ROUNDS, [1, 0, 1, 1, 1, 1, 1, 1, 0], [1, 5]),
        (_TWO_ROUNDS, [0, 1, 0], [1, 5]),
        ([USER, calls(CITY), _RESULT, DONE], [0, 1, 0, 0], [3]),
        ([USER, DONE, USER, calls(CITY), _RESULT, _RESULT, _RESULT, DONE], [1, 0, 1], [3]),
    ],
)
def test_a_loss_mask_counts_results_in_a_row_one_by_one(messages: Any, mask: Any, expected: list[int]) -> None:
    """Upstream's loader makes one turn of them, and so counts fewer."""
    assert silent({"messages": messages, "loss_mask": mask}) == expected


def test_a_mask_of_the_merged_turns_is_refused_with_the_numbers() -> None:
    found = read({"messages": _TWO_ROUNDS, "loss_mask": [0, 1, 0, 1, 0, 1]})
    assert isinstance(found, str)
    assert "6 items" in found
    assert "9 messages" in found
    assert "3 turns" in found


@pytest.mark.parametrize("mask", [[1], [1, 1], [1] * 5, [1] * 8, "1,0,1", [1, 2, 1], [1, "x", 1], {}])
def test_any_other_mask_is_refused_with_the_numbers(mask: Any) -> None:
    found = read({"messages": LONG, "loss_mask": mask})
    assert isinstance(found, str)
    assert '"loss_mask"' in found


def test_a_turns_own_mark_in_every_layout() -> None:
    quiet = {**DONE, "loss": False}
    assert silent({"messages": [USER, quiet, USER, DONE]}) == [1]
    assert silent({"messages": [USER, {**DONE, "weight": 0}, USER, {**DONE, "weight": 1}]}) == [1]
    assert silent({"messages": [{"role": "system", "content": "S"}, USER, DONE, USER, quiet]}) == [3]
    assert silent({"messages": [USER, DONE, USER, quiet], "loss_mask": [0, 1]}) == [1, 3]
    said = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b", "loss": False}]
    assert silent({"conversations": said}, formatting="sharegpt", columns={"messages": "conversations"}) == [1]
    columns = {"prompt": "p", "response": "r", "history": "h"}
    record = {"p": "a", "r": "b", "h": [["c", "d"]], "loss_mask": [0, 1]}
    assert silent(record, formatting="alpaca", columns=columns) == [1]
    assert (
        read({"messages": [USER, {**DONE, "loss": "no"}]})
        == "turn 2: \"loss\" is 'no'; write true or false, or 1 or 0"
    )


@pytest.mark.parametrize("formatting", ["openai", "sharegpt"])
@pytest.mark.parametrize(
    ("weight", "quiet", "told"),
    [
        (0, True, False),
        (0.0, True, False),
        (False, True, False),
        (1, False, False),
        (None, False, False),
        (0.5, False, True),
        (2, False, True),
        ("0", False, True),
    ],
)
def test_a_weight_on_a_turn_is_kept_or_told_in_every_layout(
    formatting: str, weight: Any, quiet: bool, told: bool
) -> None:
    role, content, names = (
        ("role", "content", ("user", "assistant")) if formatting == "openai" else ("from", "value", ("human", "gpt"))
    )
    messages = [{role: name, content: "a"} for name in names * 2]
    messages[1]["weight"] = weight
    found = read({"m": messages}, formatting=formatting, columns={"messages": "m"})
    assert isinstance(found, Dialogue)
    assert sorted(found.silent) == ([1] if quiet else [])
    assert [number for number, _ in found.lost] == ([2] if told else [])


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
