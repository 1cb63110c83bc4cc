"""The tool data sets: dialogues as upstream wants them, gold answers whole, published defects told and kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data.samples import api_call, bfcl, dialogue, lamp_api, react, step, trajectory
from llamafactory_ext.data.dialogues import NOT_DECLARED, NOT_JSON
from llamafactory_ext.data.public.api_bank import NO_CALL, STRING_ID
from llamafactory_ext.data.public.convert import Conversion, Request, convert
from llamafactory_ext.errors import DataError

pytestmark = pytest.mark.fast


def run(name: str, records: Any, folder: Path, file_name: str, **options: Any) -> tuple[Conversion, list[Any]]:
    source = folder / "in" / file_name
    source.parent.mkdir(exist_ok=True)
    if name == "bfcl":
        source.write_text("\n".join(map(json.dumps, records)))
    else:
        source.write_text(json.dumps(records))
    result = convert(Request(name, source, folder / "out", **options))
    return result, json.loads(result.output.read_text(encoding="utf-8"))


def turns(record: Any) -> list[tuple[str, str]]:
    return [(message["from"], message["value"]) for message in record["conversations"]]


def test_toolalpaca_dialogues_have_thought_and_call_in_one_turn(tmp_path: Path) -> None:
    api = lamp_api(Instances=[dialogue(step("setLamp", '{"level": 3}', "Status Code: 200. Response: {}"))])
    _, records = run("toolalpaca", [api], tmp_path, "train_data.json")
    assert turns(records[0]) == [
        ("human", "Dim the lamp."),
        (
            "function_call",
            'I set it.\n<tool_call>{"name": "setLamp", "arguments": {"level": 3}}</tool_call>',
        ),
        ("observation", "Status Code: 200. Response: {}"),
        ("gpt", "The lamp is dim."),
    ]
    tools = json.loads(records[0]["tools"])
    assert [tool["name"] for tool in tools] == ["getDetails", "setLamp", "listLamps"]
    assert tools[1] == {
        "name": "setLamp",
        "description": "Set a lamp.\nOutput: Done.\n - Format: application/json",
        "parameters": {
            "type": "object",
            "properties": {
                "level": {"type": "integer", "description": "Required. integer. From 0 to 9."},
                "room": {"type": "string", "description": "string. {Any}."},
            },
            "required": ["level"],
        },
    }
    assert tools[2]["description"] == "List all lamps.\nOutput: The lamps.\nLamp: Object{room, level}"


def test_toolalpaca_selects_dialogues_as_its_authors_do_and_says_why(tmp_path: Path) -> None:
    good = step("setLamp", '{"level": 3}', {"status": "ok"})
    ask = step("getDetails", '{"Question": "Which?"}', "The red one")
    instances = [
        dialogue(good),
        dialogue(*[good] * 6),
        dialogue(ask, ask),
        dialogue(),
        {"error": "time-out"},
        dialogue(good, output=""),
        dialogue(ask, step("openDoor", "{'level': 3", "no such tool")),
    ]
    apis = [lamp_api(Instances=instances), lamp_api(Function_Description=None, Instances=instances[:1]), lamp_api()]
    result, records = run("toolalpaca", apis, tmp_path, "train_data.json")
    assert result.read == {"train_data.json": 9}
    assert result.written == len(records) == 2
    assert [(drop.place, drop.reason) for drop in result.dropped] == [
        ("index 0, Instances 1", "more than 5 steps (the authors leave these out)"),
        ("index 0, Instances 2", "calls nothing but getDetails (the authors leave these out)"),
        ("index 0, Instances 3", "no intermediate step"),
        ("index 0, Instances 4", "holds no dialogue"),
        ("index 0, Instances 5", "empty output"),
        ("index 1, Instances 0", "its API has no Function_Description"),
        ("index 2", "its API has neither Instances nor Golden_Answers"),
    ]
    assert [(note.place, note.reason) for note in result.findings] == [
        ("index 0, Instances 6", NOT_DECLARED),
        ("index 0, Instances 6", NOT_JSON),
    ]
    assert turns(records[0])[2] == ("observation", '{"status": "ok"}')
    assert '{"name": "openDoor", "arguments": "{\'level\': 3"}' in turns(records[1])[3][1]
    assert [record["id"] for record in records] == ["train_data:0", "train_data:6"]


def test_toolalpaca_gold_answers_stay_whole(tmp_path: Path) -> None:
    golds = [
        [{"Action": "setLamp", "Action_Input": '{"level": 3}'}, {"Action": "listLamps", "Action_Input": "{}"}],
        [{"Action": "setRoom", "Action_Input": '{"level": "symbols": 3}'}],
        [],
        [{"Action": "listLamps", "Action_Input": "{}"}],
    ]
    api = lamp_api(Instructions=["Dim, then list.", "Dim.", "Nothing."], Golden_Answers=golds, NLDocumentation="doc")
    result, records = run("toolalpaca", [api], tmp_path, "eval_real.json")
    assert (result.split, result.dataset_name, result.written) == ("test", "toolalpaca_test", 2)
    assert turns(records[0])[1] == (
        "function_call",
        '[{"name": "setLamp", "arguments": {"level": 3}}, {"name": "listLamps", "arguments": {}}]',
    )
    assert json.loads(turns(records[1])[1][1]) == {"name": "setRoom", "arguments": '{"level": "symbols": 3}'}
    assert [json.loads(record["reference"]) for record in records] == [
        {"api": "Lamps", "index": index, "documentation": "doc", "golden_answer": golds[index]} for index in (0, 1)
    ]
    assert [record["id"] for record in records] == ["eval_real:Lamps:0", "eval_real:Lamps:1"]
    assert [drop.reason for drop in result.dropped] == ["no gold call", "empty prompt"]
    assert [note.reason for note in result.findings] == [NOT_DECLARED, NOT_JSON]


def test_a_tl_training_trajectory_keeps_its_errors_and_its_tools(tmp_path: Path) -> None:
    records = [
        trajectory(
            ("user", "Dim the lamp."),
            ("assistant", 'set_lamp\n{"level": 30}'),
            ("function", "set_lamp() got an unexpected keyword argument"),
            ("assistant", 'finish\n{"answer": "ok"}'),
        ),
        trajectory(("user", "Hi"), ("assistant", "Hello\nthere")),
        trajectory(("user", "Hi"), ("assistant", 'set_lamp\n{"level": 3}'), ("function", "ok")),
        trajectory(("assistant", "Hello")),
        trajectory(("user", "Hi"), ("assistant", "set_lamp\n{level: 3}")),
    ]
    result, kept = run("tl_training", records, tmp_path, "raw_data.json")
    assert [role for role, _ in turns(kept[0])] == ["human", "function_call", "observation", "function_call"]
    assert turns(kept[0])[1][1] == '{"name": "set_lamp", "arguments": {"level": 30}}'
    assert json.loads(kept[0]["tools"])[0]["function"]["name"] == "set_lamp"
    assert turns(kept[1]) == [("human", "Hi"), ("gpt", "Hello\nthere")]
    assert json.loads(turns(kept[2])[1][1]) == {"name": "set_lamp", "arguments": "{level: 3}"}
    assert [(drop.place, drop.reason) for drop in result.dropped] == [
        ("index 2", "ends with a tool's feedback: there is no answer to it"),
        ("index 3", 'a turn is of "gpt" where human or observation is due'),
    ]
    assert [note.reason for note in result.findings] == [
        NOT_DECLARED,
        'an assistant turn is no "name" line and arguments; it is kept as an answer',
        NOT_JSON,
    ]


def test_rotbench_answers_with_the_first_alternative_and_keeps_all(tmp_path: Path) -> None:
    source = react(
        'Thought: I dim it.\nAction: set_lamp\nAction Input: {"level": "3"}',
        'Thought:\nAction: set_lamp\nAction Input: {"level": "4"}',
    )
    broken = react("Just do it.", 'Thought:\nAction: open\nAction Input: {"a": }')
    result, records = run("rotbench", [source, broken, react("No.")], tmp_path, "slight.json")
    call = '{"name": "set_lamp", "arguments": {"level": "3"}}'
    assert turns(records[0]) == [
        ("human", "Dim it.\nBegin!\n"),
        ("function_call", f"I dim it.\n<tool_call>{call}</tool_call>"),
    ]
    assert json.loads(records[0]["reference"]) == source
    assert [tool["name"] for tool in json.loads(records[0]["tools"])] == ["set_lamp", "finish"]
    assert turns(records[1])[1][1] == '{"name": "open", "arguments": "{\\"a\\": }"}'
    assert [drop.reason for drop in result.dropped] == ["no gold call"]
    assert {note.reason for note in result.findings} == {
        NOT_DECLARED,
        NOT_JSON,
        'a published alternative is no "Action: ... Action Input: ..."; it is kept in "reference"',
    }


def test_a_rotbench_folder_means_its_clean_environment(tmp_path: Path) -> None:
    folder = tmp_path / "rotbench" / "First_Turn"
    folder.mkdir(parents=True)
    for level in ("clean", "slight"):
        (folder / f"{level}.json").write_text(json.dumps([react('Action: finish\nAction Input: {"answer": "x"}')]))
    result = convert(Request("rotbench", folder.parent, tmp_path / "out"))
    assert list(result.read) == ["clean.json"]
    assert result.left_out == {"slight.json": "another environment: name the file"}


def test_tooleyes_has_no_gold_and_keeps_its_record(tmp_path: Path) -> None:
    source = react(path="ToolEyes/Tool_Library/Lamp/Lamp")
    result, records = run("tooleyes", [source], tmp_path, "scenario_data_zero_processed.json")
    assert turns(records[0]) == [("human", "Dim it.\nBegin!\n"), ("gpt", "")]
    assert json.loads(records[0]["reference"]) == source
    assert result.dataset_name == "tooleyes_test"


def test_bfcl_gold_is_python_or_the_first_allowed_values(tmp_path: Path) -> None:
    executable = bfcl(ground_truth=["set_lamp(level=1/3, on=True)", "a.b(xs=[1, -2.5])"], execution_result_type=["x"])
    result, records = run("bfcl", [executable], tmp_path, "BFCL_v3_exec_parallel.json", dataset_name="exec")
    assert json.loads(turns(records[0])[1][1]) == [
        {"name": "set_lamp", "arguments": {"level": "1/3", "on": True}},
        {"name": "a.b", "arguments": {"xs": [1, -2.5]}},
    ]
    assert json.loads(records[0]["reference"])["ground_truth"] == executable["ground_truth"]
    assert len(result.findings) == 2
    allowed = {"level": [3, "three"], "unit": ["", "lux"], "where": [{"room": ["hall"], "floor": ["", 1]}], "l": [[]]}
    answers = tmp_path / "in" / "possible_answer"
    answers.mkdir()
    gold = {"id": "simple_0", "ground_truth": [{"set_lamp": allowed}]}
    (answers / "BFCL_v3_simple.json").write_text(json.dumps(gold))
    _, records = run("bfcl", [bfcl()], tmp_path, "BFCL_v3_simple.json")
    assert json.loads(turns(records[0])[1][1])["arguments"] == {"level": 3, "where": {"room": "hall"}, "l": []}
    assert json.loads(records[0]["reference"]) == {"id": "simple_0", "possible_answer": gold["ground_truth"]}
    (answers / "BFCL_v3_simple.json").write_text(json.dumps({**gold, "id": "simple_1"}))
    with pytest.raises(DataError, match=r"do not belong together: at line 1 their ids differ"):
        run("bfcl", [bfcl()], tmp_path, "BFCL_v3_simple.json")


def test_bfcl_records_without_a_single_gold_are_dropped_with_reason(tmp_path: Path) -> None:
    system = [
        [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    ]
    records = [
        bfcl(question=system, ground_truth=["set_lamp(level=1)"]),
        bfcl(),
        bfcl(question=[[], []], ground_truth=["x()"]),
    ]
    result, kept = run("bfcl", records, tmp_path, "BFCL_v3_irrelevance.json")
    assert kept[0]["system"] == "Be kind."
    assert turns(kept[0])[0] == ("human", "a\nb")
    assert [drop.reason for drop in result.dropped] == [
        "no gold call (a relevance test)",
        "has several user turns: there is no single gold call",
    ]
    with pytest.raises(DataError, match="not in the published form"):
        run("bfcl", [bfcl(ground_truth=["set_lamp(3, 4, 5, 6)"])], tmp_path, "BFCL_v3_exec_simple.json")


def test_both_forms_of_glaive_are_read(tmp_path: Path) -> None:
    chat = (
        "USER: Dim it.\n\n\nASSISTANT: Gladly. <functioncall> "
        '{"name": "set_lamp", "arguments": \'{"level": 3, "note": "it\\\'s dark"}\'} <|endoftext|>'
        '\n\n\nFUNCTION RESPONSE: {"done": true}\n\n\nASSISTANT: Done. <|endoftext|>\n\n\n'
    )
    system = (
        'SYSTEM: You have functions -\n{"name": "set_lamp", "parameters": {}}\n\n{"name": "off", "parameters": {}}'
    )
    plain = {"system": "SYSTEM: You are kind.", "chat": "USER: Hi\n\n\nASSISTANT: Hello <|endoftext|>"}
    broken = {**plain, "chat": "USER: Hi\n\n\nASSISTANT: <functioncall> no json <|endoftext|>"}
    ours = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "tools": "[]"}
    odd = {**ours, "conversations": ours["conversations"][:1]}
    silent = {**plain, "chat": "Hello"}
    records = [{"system": system, "chat": chat}, plain, broken, ours, odd, silent]
    result, kept = run("glaive", records, tmp_path, "glaive-function-calling-v2.json")
    assert turns(kept[0]) == [
        ("human", "Dim it."),
        (
            "function_call",
            'Gladly.\n<tool_call>{"name": "set_lamp", "arguments": {"level": 3, "note": "it\'s dark"}}</tool_call>',
        ),
        ("observation", '{"done": true}'),
        ("gpt", "Done."),
    ]
    assert [tool["name"] for tool in json.loads(kept[0]["tools"])] == ["set_lamp", "off"]
    assert turns(kept[1]) == [("human", "Hi"), ("gpt", "Hello")]
    assert turns(kept[2])[1] == ("gpt", "<functioncall> no json")
    assert [drop.reason for drop in result.dropped] == [
        'the dialogue ends with "human", not with the assistant',
        "the chat does not begin with a speaker",
    ]
    assert [(note.place, note.reason.partition(";")[0]) for note in result.findings] == [
        ("index 1", "declares no tool"),
        ("index 2", "declares no tool"),
        ("index 2", 'a <functioncall> is not {"name": ..., "arguments": ...}'),
        ("index 3", "declares no tool"),
    ]


@pytest.mark.parametrize(
    ("family", "file_name", "record", "message"),
    [
        ("toolalpaca", "train_data.json", {"a": 1}, 'has no "Name" of an API'),
        ("toolalpaca", "train_data.json", lamp_api(Instances=[dialogue(["x"])]), "intermediate step that is not"),
        ("toolalpaca", "eval_real.json", lamp_api(Instructions=["a"], Golden_Answers=[[{"x": 1}]]), "gold step"),
        ("toolalpaca", "train_data.json", 3, "is no JSON object but int"),
        ("tl_training", "raw_data.json", {"conversations": [{"from": "human"}]}, 'messages with "role" and "content"'),
        ("tl_training", "raw_data.json", {"conversations": []}, "does not begin with a system message"),
        ("tl_training", "raw_data.json", trajectory(tools={"a": 1}), "no JSON list of tools"),
        ("rotbench", "clean.json", react(path="x"), "no third turn with a list"),
        ("rotbench", "clean.json", {"conversations": [{"from": "user"}]}, "begin with a system and a user turn"),
        ("tooleyes", "scenario_data.json", react("a"), 'no "path" of its tools'),
        ("bfcl", "BFCL_v3_simple.json", {"question": "?"}, 'has no "question" of turns'),
        ("glaive", "glaive.json", {"chat": 1}, 'has neither "system" and "chat"'),
        ("glaive", "glaive.json", {"conversations": [], "tools": "[{"}, 'has "tools" that are no JSON'),
        ("glaive", "glaive.json", {"conversations": [{"from": 1}], "tools": ""}, 'message without "from"'),
        ("humaneval", "HumanEval.json", {"prompt": "def f"}, 'has no "canonical_solution"'),
    ],
)
def test_records_of_another_kind_are_refused(
    family: str, file_name: str, record: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError) as error:
        run(family, [record], tmp_path, file_name)
    assert message in error.value.message
    assert f"{file_name}, " in error.value.message
    assert not list((tmp_path / "out").iterdir())


def test_api_bank_ids_keep_their_type_and_broken_calls_their_text(tmp_path: Path) -> None:
    broken = api_call(2, file="a.jsonl", id=4) | {"output": "API-Request: [SetLamp(rooms='['a', 'b']')]"}
    records = [api_call(1, file="a.jsonl", id="3"), api_call(2, file="a.jsonl", id=3), broken]
    result, kept = run("api_bank", records, tmp_path, "level-1-api.json")
    assert [json.loads(record["reference"])["id"] for record in kept] == ["3", 3, 4]
    assert [(note.place, note.reason) for note in result.findings] == [("index 0", STRING_ID), ("index 2", NO_CALL)]
    assert kept[2]["output"] == broken["output"]
    report = json.loads((tmp_path / "out" / "api_bank_test.report.json").read_text())
    assert report["findings"][0]["place"] == "index 0"
    assert report["findings_by_reason"] == {STRING_ID: 1, NO_CALL: 1}
