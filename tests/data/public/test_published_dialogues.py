"""xLAM, ToolACE, Hermes and APIGen-MT: calls come out typed, several, and in order; what is lost has a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data.samples import SAMPLES, apigen_mt, hermes, json_mode, toolace, xlam
from llamafactory_ext.data.checks.audit import audit
from llamafactory_ext.data.entries import DataEntry
from llamafactory_ext.data.family import Drop, Example, Foreign
from llamafactory_ext.data.public import hermes as hermes_module
from llamafactory_ext.data.public import tool_schemas, turns
from llamafactory_ext.data.public import toolace as toolace_module
from llamafactory_ext.data.public.convert import FAMILIES, Conversion, Request, convert
from llamafactory_ext.errors import DataError
from llamafactory_ext.templates.messages import RESULT_SEPARATOR, read_calls, results

pytestmark = pytest.mark.fast
NEW = ("xlam", "toolace", "hermes", "apigen_mt")
LAMP = {"name": "set_lamp", "arguments": {"level": 3}}


def read(family: str, record: Any) -> Example:
    outcome = FAMILIES[family].read(record)
    assert isinstance(outcome, Example), outcome
    return outcome


def said(example: Example) -> list[tuple[str, Any]]:
    """Each turn: words, or (thought, [(name, arguments), ...]), or the list of results."""
    found: list[tuple[str, Any]] = []
    for message in example.columns["conversations"]:
        role, text = message["from"], message["value"]
        if role == "function_call":
            read_turn = read_calls(text)
            assert read_turn is not None, text
            found.append((role, (read_turn.thought, [(call.name, call.arguments) for call in read_turn.calls])))
        else:
            found.append((role, list(results(text)) if role == "observation" else text))
    return found


def run(family: str, records: list[Any], folder: Path, name: str, **options: Any) -> tuple[Conversion, list[Any]]:
    source = folder / "in" / name
    source.parent.mkdir(exist_ok=True)
    source.write_text("\n".join(map(json.dumps, records)) if name.endswith("l") else json.dumps(records))
    result = convert(Request(family, source, folder / "out", **options))
    return result, json.loads(result.output.read_text(encoding="utf-8"))


# --- xLAM-60k


def test_xlam_is_one_request_and_its_calls() -> None:
    calls = [LAMP, {"name": "set_lamp", "arguments": {"level": 1.5, "rooms": [], "on": None, "unit": "3"}}, LAMP]
    example = read("xlam", xlam("  Dim them. ", *calls))
    assert said(example) == [
        ("human", "Dim them."),
        ("function_call", ("", [(call["name"], call["arguments"]) for call in calls])),
    ]
    assert (example.columns["system"], example.key, example.findings) == ("", "7", ())
    assert json.loads(example.columns["tools"]) == [
        {
            "name": "set_lamp",
            "description": "Set a lamp.",
            "parameters": {
                "type": "object",
                "properties": {
                    "level": {"type": "integer", "description": "From 0 to 9."},
                    "rooms": {"type": "array", "items": {"type": "string"}, "description": "Where."},
                    "unit": {"type": "string", "description": "Its unit.", "default": "lux"},
                },
                "required": ["level"],
            },
        }
    ]


@pytest.mark.parametrize(
    ("described", "schema", "required"),
    [
        ({"type": "int"}, {"type": "integer"}, True),
        ({"type": "str, optional"}, {"type": "string"}, False),
        ({"type": "str, optional", "default": ""}, {"type": "string", "default": ""}, False),
        ({"type": "bool, optional", "default": ""}, {"type": "boolean"}, False),
        ({"type": "str", "default": "7"}, {"type": "string", "default": "7"}, False),
        ({"type": "int", "default": 0}, {"type": "integer", "default": 0}, False),
        ({"type": "bool", "default": False}, {"type": "boolean", "default": False}, False),
        ({"type": "str", "default": ""}, {"type": "string", "default": ""}, True),
        ({"type": "int", "default": None}, {"type": "integer"}, True),
        ({"type": "int, default=100"}, {"type": "integer", "default": 100}, False),
        ({"type": "Optional[int]"}, {"type": "integer"}, False),
        ({"type": "int, optional", "required": True}, {"type": "integer"}, True),
        ({"type": "string", "enum": ["a"], "required": False}, {"type": "string", "enum": ["a"]}, False),
        ("float", {"type": "number"}, True),
    ],
)
def test_xlam_derives_required_from_optional_and_default(described: Any, schema: Any, required: bool) -> None:
    tool = {"name": "set_lamp", "description": "", "parameters": {"level": described}}
    parameters = json.loads(read("xlam", xlam(tools=json.dumps([tool]))).columns["tools"])[0]["parameters"]
    assert parameters == {"type": "object", "properties": {"level": schema}, "required": ["level"] * required}


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "set_lamp", "description": "", "parameters": {"type": "object", "properties": {}, "required": []}},
        {
            "type": "function",
            "function": {
                "name": "set_lamp",
                "description": "",
                "parameters": {
                    "type": "object",
                    "properties": {"type": {"type": "string"}, "p": {"anyOf": [{"type": "integer"}]}},
                    "required": ["type"],
                    "additionalProperties": False,
                },
                "strict": True,
            },
        },
    ],
)
def test_proper_tools_stay_as_they_are(tool: Any) -> None:
    assert json.loads(read("xlam", xlam(tools=json.dumps([tool]))).columns["tools"]) == [tool]


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": {"description": "Which.", "type": "str"}, "properties": {"description": "What.", "type": "str"}},
        {"properties": {"description": "What.", "type": "str"}, "required": {"description": "?", "type": "str"}},
    ],
)
def test_xlam_parameters_may_be_called_as_schema_words_are(parameters: Any) -> None:
    tools = json.dumps([{"name": "set_lamp", "description": "", "parameters": parameters}])
    found = json.loads(read("xlam", xlam(tools=tools)).columns["tools"])[0]["parameters"]
    assert list(found["properties"]) == found["required"] == list(parameters)


def test_xlam_lists_may_be_decoded() -> None:
    decoded = xlam()
    decoded |= {"tools": json.loads(decoded["tools"]), "answers": json.loads(decoded["answers"])}
    assert read("xlam", decoded) == read("xlam", xlam())
    openai = [{"type": "function", "function": {"name": "set_lamp", "arguments": '{"level": 3}'}}]
    assert said(read("xlam", xlam(answers=openai)))[1] == ("function_call", ("", [("set_lamp", {"level": 3})]))


def test_an_unknown_type_is_a_finding() -> None:
    tools = json.dumps([{"name": "set_lamp", "parameters": {"level": {"type": "Lumen"}}}])
    example = read("xlam", xlam(tools=tools))
    assert example.findings == (tool_schemas.UNKNOWN_TYPE,)
    assert json.loads(example.columns["tools"])[0]["parameters"]["properties"] == {"level": {}}


# --- ToolACE


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("[Set Lamp(level=3)]", [("Set Lamp", {"level": 3})]),
        ("[home/lamps.List All()]", [("home/lamps.List All", {})]),
        (
            "[ home/lamps.List All( ), Set Lamp (level = 3) ]",
            [("home/lamps.List All", {}), ("Set Lamp", {"level": 3})],
        ),
        (
            """[Set Lamp(a='it\\'s', b="[x(y=1)], ", c=[1, -2.5, {'k': None}], d={"t": true, "n": null}, e=True)]""",
            [
                (
                    "Set Lamp",
                    {
                        "a": "it's",
                        "b": "[x(y=1)], ",
                        "c": [1, -2.5, {"k": None}],
                        "d": {"t": True, "n": None},
                        "e": True,
                    },
                )
            ],
        ),
        (
            "[Set Lamp(level-of light=3, $filter='a', from=1)]",
            [("Set Lamp", {"level-of light": 3, "$filter": "a", "from": 1})],
        ),
        ('[Set Lamp(level="3"),\nSet Lamp(level=3.0)]', [("Set Lamp", {"level": "3"}), ("Set Lamp", {"level": 3.0})]),
        ("[Set Lamp(level=3)], [home/lamps.List All()]", [("Set Lamp", {"level": 3}), ("home/lamps.List All", {})]),
        ("Set Lamp(level=3)", [("Set Lamp", {"level": 3})]),
        ('[{"name": "Set Lamp", "arguments": {"level": 3}}]', [("Set Lamp", {"level": 3})]),
        (
            '[Set Lamp(text="<tool_call>{}</tool_call> </think>")]',
            [("Set Lamp", {"text": "<tool_call>{}</tool_call> </think>"})],
        ),
    ],
)
def test_toolace_calls_are_read_as_they_are_written(text: str, calls: Any) -> None:
    example = read("toolace", toolace(("user", "Dim."), ("assistant", text)))
    assert said(example)[1] == ("function_call", ("", calls))
    assert example.findings == ()


def test_toolace_names_with_parentheses_are_found_by_their_declaration() -> None:
    tools = [{"name": "Lamp (v2)", "description": "", "parameters": {"type": "dict", "properties": {}}}]
    example = read("toolace", toolace(("user", "Dim."), ("assistant", "[Lamp (v2)(on=True)]"), tools=tools))
    assert said(example)[1] == ("function_call", ("", [("Lamp (v2)", {"on": True})]))


@pytest.mark.parametrize(
    "text",
    [
        "Which level do you mean?",
        "[Note] The lamp (in the hall) is off.",
        "Set Lamp (the tool) needs a level.",
        "[Set Lamp] needs a level.",
        '{"name": "Bob", "age": 3}',
        "[1, 2]",
    ],
)
def test_toolace_answers_and_questions_back_stay_words(text: str) -> None:
    example = read("toolace", toolace(("user", "Dim."), ("assistant", text)))
    assert said(example)[1] == ("gpt", text)
    assert example.findings == ()


def test_toolace_words_around_a_call() -> None:
    before = read("toolace", toolace(("user", "Dim."), ("assistant", "Gladly.\n[Set Lamp(level=3)]")))
    assert said(before)[1] == ("function_call", ("Gladly.", [("Set Lamp", {"level": 3})]))
    quoted = read(
        "toolace", toolace(("user", "Dim."), ("assistant", "I would say [Set Lamp(level=3)] if I were you."))
    )
    assert (said(quoted)[1][0], quoted.findings) == ("gpt", (toolace_module.QUOTED,))


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ('[{"a": 1.10}, "on",  [2]]', ['{"a": 1.10}', "on", "[2]"]),
        ('[{"a": 1}]', ['[{"a": 1}]']),
        ("not JSON", ["not JSON"]),
        ('{"a": 1}', ['{"a": 1}']),
    ],
)
def test_toolace_results_are_told_apart_where_there_is_one_for_each_call(result: str, expected: list[str]) -> None:
    call = "[Set Lamp(level=1), Set Lamp(level=2), Set Lamp(level=3)]"
    example = read("toolace", toolace(("user", "x"), ("assistant", call), ("tool", result), ("assistant", "y")))
    assert said(example)[2] == ("observation", expected)
    assert example.findings == (() if len(expected) == 3 else (turns.RESULTS_DIFFER,))


@pytest.mark.parametrize("form", ["end", "within", "python", "first message", "other roles"])
def test_toolace_tools_stand_anywhere_in_the_system_text(form: str) -> None:
    record = toolace(("user", "Dim."), ("assistant", "[Set Lamp(level=3)]"))
    expected = read("toolace", record)
    start, end = record["system"].index("[{"), record["system"].index("}]") + 2
    listed = record["system"][start:end]
    if form == "end":
        record["system"] = record["system"][:start] + listed
    elif form == "python":
        record["system"] = record["system"].replace(listed, repr(json.loads(listed)))
    elif form == "first message":
        record["conversations"].insert(0, {"from": "system", "value": record.pop("system")})
    elif form == "other roles":
        roles = {"user": "human", "assistant": "gpt"}
        record["conversations"] = [{"role": roles[m["from"]], "content": m["value"]} for m in record["conversations"]]
    assert read("toolace", record) == expected
    assert expected.columns["system"].endswith("Today is Monday.")
    level = json.loads(expected.columns["tools"])[0]["parameters"]["properties"]["level"]
    assert level == {"type": "integer", "description": "From 0 to 9."}


# --- Hermes


@pytest.mark.parametrize(
    ("text", "thought", "calls"),
    [
        ("<tool_call>\n{'arguments': {'level': 3}, 'name': 'set_lamp'}\n</tool_call>", "", [{"level": 3}]),
        (
            '<tool_call>{"name": "set_lamp", "arguments": {"on": true, "x": null}}</tool_call>',
            "",
            [{"on": True, "x": None}],
        ),
        (
            "<tool_call>{'name': 'set_lamp', 'arguments': {'on': True, \"s\": \"it's\"}}</tool_call>",
            "",
            [{"on": True, "s": "it's"}],
        ),
        (
            '<tool_call>\\n{"arguments": {"q": [\'a\', "b"]}, "name": "set_lamp"}\\n</tool_call>',
            "",
            [{"q": ["a", "b"]}],
        ),
        (
            "Two.\n<tool_call>\n{'arguments': {'level': 1}, 'name': 'set_lamp'}\n</tool_call>\n"
            '<tool_call>\n{"arguments": {"level": 2}, "name": "set_lamp"}\n</tool_call>',
            "Two.",
            [{"level": 1}, {"level": 2}],
        ),
        (
            "<tool_call>[{'name': 'set_lamp', 'arguments': {}}, "
            "{'name': 'set_lamp', 'parameters': '{\"a\": 1}'}]</tool_call>",
            "",
            [{}, {"a": 1}],
        ),
        (
            '<tool_call>{"name": "set_lamp"}\n{"name": "set_lamp", "arguments": {"a": 2}}</tool_call>',
            "",
            [{}, {"a": 2}],
        ),
        (
            "<scratch_pad>\nGoal: dim\nActions: x = set_lamp(level=3)\n</scratch_pad>\n"
            '<tool_call>{"name": "set_lamp", "arguments": {"level": 3}}</tool_call>',
            "<scratch_pad>\nGoal: dim\nActions: x = set_lamp(level=3)\n</scratch_pad>",
            [{"level": 3}],
        ),
        (
            '<think>Dim.</think><tool_call>{"name": "set_lamp", "arguments": {"t": "</tool_call>"}}</tool_call>',
            "<think>Dim.</think>",
            [{"t": "</tool_call>"}],
        ),
    ],
)
def test_hermes_calls_are_json_or_python(text: str, thought: str, calls: list[Any]) -> None:
    example = read("hermes", hermes(("human", "Dim."), ("gpt", text)))
    assert said(example)[1] == ("function_call", (thought, [("set_lamp", arguments) for arguments in calls]))
    assert example.findings == ()


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("<tool_call>{'name': 'set_lamp', 'arguments': {'level': 3}}", hermes_module.NOT_CLOSED),
        ("<tool_call>{'name': 'set_lamp', 'arguments': {'level': 3}}</tool_call>\nDone.", hermes_module.WORDS_AFTER),
        ("<tool_call>{'arguments': {'level': 3, 'name': 'set_lamp'}}</tool_call>", turns.NAME_AMONG_ARGUMENTS),
    ],
)
def test_hermes_defects_that_leave_the_call_whole_are_findings(text: str, finding: str) -> None:
    example = read("hermes", hermes(("human", "Dim."), ("gpt", text)))
    assert said(example)[1][1][1] == [("set_lamp", {"level": 3})]
    assert example.findings == (finding,)


def test_a_draft_within_a_thought_is_no_call() -> None:
    text = '<think>Perhaps set_lamp</think>\nNo: <think>or <tool_call>{"name": "x"}</think> nothing.'
    outcome = FAMILIES["hermes"].read(hermes(("human", "Dim."), ("gpt", text)))
    assert isinstance(outcome, Drop)  # upstream and the templates would take the tag for a call
    assert "does not parse" in outcome.reason


@pytest.mark.parametrize("form", ["python", "json", "lines", "no line breaks", "beside"])
def test_hermes_tools_are_lists_or_objects_in_a_row(form: str) -> None:
    tool = {"type": "function", "function": {"name": "set_lamp", "description": "", "parameters": {"type": "object"}}}
    texts = {
        "python": repr([tool, tool]),
        "json": json.dumps([tool, tool], indent=1),
        "lines": f"{json.dumps(tool)}\n{json.dumps(tool)}",
        "no line breaks": f"{tool!r}, {tool!r}",
        "beside": "",
    }
    more = {"tools": json.dumps([tool, tool])} if form == "beside" else {}
    record = hermes(("human", "Hi"), ("gpt", "Hello"), tools=texts[form])
    example = read("hermes", record | more)
    assert [one["function"]["name"] for one in json.loads(example.columns["tools"])] == ["set_lamp"] * 2
    assert "tools>" not in example.columns["system"]
    assert example.columns["system"].startswith("You are a function calling AI model.")


def test_hermes_results_are_one_for_each_tag() -> None:
    call = "<tool_call>{'name': 'set_lamp', 'arguments': {}}</tool_call>"
    result = (
        "<tool_response>\n{'name': 'set_lamp', 'content': 1}\n</tool_response>\n<tool_response>off</tool_response>"
    )
    example = read("hermes", hermes(("human", "x"), ("gpt", call + call), ("tool", result), ("gpt", "y")))
    assert said(example)[2] == ("observation", ["{'name': 'set_lamp', 'content': 1}", "off"])
    assert example.columns["conversations"][2]["value"].count(RESULT_SEPARATOR) == 1
    assert example.findings == ()


def test_json_mode_is_general_and_keeps_its_schema(tmp_path: Path) -> None:
    result, records = run("hermes", [json_mode()], tmp_path, "json-mode-agentic.json", dataset_name="hermes_json")
    assert (result.mark, result.task, result.written) == ("general", "json", 1)
    assert (records[0]["mark"], records[0]["task"], records[0]["tools"]) == ("general", "json", "")
    assert "<schema>\n{'type': 'object'}\n</schema>" in records[0]["system"]
    result, records = run("hermes", [json_mode(), *SAMPLES["hermes"]], tmp_path, "mixed.json", task="mine")
    assert (result.mark, result.task) == ("general, tool", "mine")
    assert [(record["mark"], record["task"]) for record in records] == [("general", "mine"), ("tool", "mine")]


def test_a_folder_of_hermes_means_its_tool_data(tmp_path: Path) -> None:
    folder = tmp_path / "hermes"
    folder.mkdir()
    (folder / "json-mode-agentic.json").write_text(json.dumps([json_mode()]))
    assert convert(Request("hermes", folder, tmp_path / "out")).mark == "general"
    for name in ("func-calling.json", "func-calling-singleturn.json", "glaive-function-calling-5k.json"):
        (folder / name).write_text(json.dumps(SAMPLES["hermes"]))
    result = convert(Request("hermes", folder, tmp_path / "out"))
    assert (sum(result.read.values()), result.mark, list(result.left_out)) == (3, "tool", ["json-mode-agentic.json"])


# --- APIGen-MT


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


# --- all of them


@pytest.mark.parametrize(
    ("family", "record", "reason"),
    [
        ("xlam", xlam(answers="[{"), "its answers are no JSON list of calls"),
        ("xlam", xlam(tools="nothing"), "its tools are no JSON list"),
        ("xlam", xlam(answers="[]"), "states no call"),
        ("xlam", xlam(" "), "empty prompt"),
        ("xlam", xlam(query=3), "a message holds no text"),
        (
            "xlam",
            xlam("x", {"name": "set_lamp", "arguments": "level 3"}),
            "the arguments of a call are no JSON object",
        ),
        ("xlam", xlam("x", {"name": "set_lamp", "arguments": [3]}), "the arguments of a call are no JSON object"),
        ("xlam", xlam("x", {"arguments": {}}), "a call has no name"),
        ("xlam", xlam("x", "set_lamp"), "a call is no JSON object"),
        ("xlam", xlam("x", {"name": "lamp", "arguments": {}}), "names a tool that"),
        ("xlam", xlam(answers='[{"name": "set_lamp", "arguments": {"x": NaN}}]'), "its answers are no JSON list"),
        ("xlam", xlam(answers='[{"name": "set_lamp", "arguments": {"x": 1e999}}]'), "what JSON cannot write"),
        ("xlam", xlam(answers='[{"name": "set_lamp", "arguments": {"x": "\\ud800"}}]'), "what JSON cannot write"),
        ("xlam", xlam(tools='[{"description": "x"}]'), "a tool is no JSON object with a name"),
        ("xlam", xlam(tools='[{"name": "set_lamp", "parameters": [1]}]'), "the parameters of a tool"),
        ("xlam", {key: value for key, value in xlam().items() if key != "answers"}, 'has no "answers"'),
        ("toolace", toolace(("user", "x"), ("assistant", "[Set Lamp(level=3]")), "a call does not parse"),
        (
            "toolace",
            toolace(("user", "x"), ("assistant", '[Set Lamp(level="3)]')),
            "an argument of a call is no value",
        ),
        (
            "toolace",
            toolace(("user", "x"), ("assistant", "[Set Lamp(level=three)]")),
            "an argument of a call is no value",
        ),
        ("toolace", toolace(("user", "x"), ("assistant", "[Set Lamp(level=1, level=2)]")), "a call does not parse"),
        ("toolace", toolace(("user", "x"), ("assistant", "[Set Lamp(3)]")), "a call does not parse"),
        ("toolace", toolace(("user", "x"), ("assistant", "[Set Lamp(level=3")), "a call does not parse"),
        ("toolace", toolace(("user", "x"), ("assistant", "[Open Door(level=3)]")), "names a tool that"),
        ("toolace", toolace(("user", "x"), ("assistant", "")), "empty output"),
        ("toolace", toolace(("user", "x")), "no answer of the assistant"),
        ("toolace", toolace(), "the dialogue has no turn"),
        ("toolace", toolace(("robot", "x")), "of a role that"),
        (
            "toolace",
            toolace(("user", "x")) | {"system": 'You may use: [{"name": "x"'},
            "the list of tools in its system",
        ),
        ("hermes", hermes(("human", "x"), ("gpt", "<tool_call>{'name': </tool_call>")), "a call does not parse"),
        ("hermes", hermes(("human", "x"), ("gpt", "<tool_call></tool_call>")), "a <tool_call> is empty"),
        ("hermes", hermes(("human", "x"), ("gpt", "<tool_call>{'name': 'lamp'}</tool_call>")), "names a tool that"),
        ("hermes", hermes(("human", "x"), ("gpt", "y"), tools="[{'name':"), "what stands in <tools>"),
        ("hermes", hermes(("human", "x"), ("gpt", "I write </tool_call> Action Input: {")), "does not parse"),
        ("hermes", hermes(("human", "x")), "no answer of the assistant"),
        ("hermes", {"id": "x", "conversations": [], "category": ""}, "the dialogue has no turn"),
        ("hermes", {"id": "x", "conversations": ["x"], "category": ""}, "a message is no JSON object"),
        (
            "hermes",
            {"id": "x", "conversations": [{"from": "gpt"}], "category": ""},
            'a message lacks "from" or "value"',
        ),
        ("apigen_mt", apigen_mt(("human", "x"), ("function_call", "{'name'")), "a call does not parse"),
        ("apigen_mt", apigen_mt(("human", "x"), ("function_call", "[]")), "a call does not parse"),
        ("apigen_mt", apigen_mt(("human", "x"), ("gpt", "y"), tools="x"), "its tools are no JSON list"),
        ("apigen_mt", apigen_mt(("human", "x"), ("observation", "y"), ("gpt", "z")), "is due"),
        ("apigen_mt", apigen_mt(("human", "x"), ("gpt", "y")) | {"conversations": [None]}, "a message is no JSON"),
    ],
)
def test_damaged_records_are_dropped_with_their_reason_and_place(
    family: str, record: Any, reason: str, tmp_path: Path
) -> None:
    outcome = FAMILIES[family].read(record)
    assert isinstance(outcome, Drop), outcome
    assert reason in outcome.reason
    result, kept = run(family, [*SAMPLES[family], record, *SAMPLES[family]], tmp_path, "file.json")
    assert [(drop.file, drop.place) for drop in result.dropped] == [("file.json", "index 1")]
    assert len(kept) == result.written == 2
    with pytest.raises(DataError, match=r"file\.json, index 0: "):
        run(family, [record], tmp_path, "file.json")


@pytest.mark.parametrize("family", NEW)
@pytest.mark.parametrize("other", [name for name in FAMILIES if name not in ("bfcl", "toolalpaca")])
def test_records_of_other_families_are_refused_by_name(family: str, other: str) -> None:
    for record in SAMPLES[other]:
        assert isinstance(FAMILIES[family].read(record), Foreign) == (family != other)


@pytest.mark.parametrize("family", NEW)
def test_a_wrong_name_is_told(family: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"looks like .*{family}"):
        run("gsm8k", SAMPLES[family], tmp_path, "file.json")
    for record in (3, None, "text", [], {}, {"a": 1}, {"conversations": 3}, {"system": "x", "chat": "y"}):
        assert isinstance(FAMILIES[family].read(record), Foreign)


@pytest.mark.parametrize("family", NEW)
@pytest.mark.parametrize("name", ["file.json", "file.jsonl"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_lists_lines_and_byte_order_marks_are_read(family: str, name: str, mark: bytes, tmp_path: Path) -> None:
    records = [*SAMPLES[family], *SAMPLES[family]]
    result, kept = run(family, records, tmp_path, name)
    source = tmp_path / "in" / name
    source.write_bytes(mark + source.read_bytes())
    again = convert(Request(family, source, tmp_path / "out"))
    assert (again.sha256, len(kept)) == (result.sha256, 2)


@pytest.mark.parametrize("family", NEW)
def test_the_result_passes_the_check(family: str, tmp_path: Path) -> None:
    result, _ = run(family, SAMPLES[family], tmp_path, "file.json")
    found = audit(DataEntry.named(family, tmp_path / "out"))
    assert found.lines() == []
    assert found.calls == {"xlam": 1, "toolace": 2, "hermes": 1, "apigen_mt": 2}[family]
    assert result.output.name == f"{family}.json"
