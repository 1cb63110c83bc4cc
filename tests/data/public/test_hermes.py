"""Hermes: calls in tags as JSON or Python, thoughts before them, JSON mode as general examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data.published import read, run, said
from data.samples import SAMPLES, hermes, json_mode
from llamafactory_ext.data.family import Example
from llamafactory_ext.data.public import hermes as hermes_module
from llamafactory_ext.data.public import turns
from llamafactory_ext.data.public.convert import FAMILIES, Request, convert
from llamafactory_ext.templates.messages import RESULT_SEPARATOR

pytestmark = pytest.mark.fast


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
    assert isinstance(outcome, Example)
    assert outcome.columns["conversations"][1] == {"from": "gpt", "value": text}


@pytest.mark.parametrize("form", ["python", "json", "lines", "no line breaks", "beside", "cut"])
def test_hermes_tools_are_lists_or_objects_in_a_row(form: str) -> None:
    tool = {"type": "function", "function": {"name": "set_lamp", "description": "", "parameters": {"type": "object"}}}
    texts = {
        "python": repr([tool, tool]),
        "json": json.dumps([tool, tool], indent=1),
        "lines": f"{json.dumps(tool)}\n{json.dumps(tool)}",
        "no line breaks": f"{tool!r}, {tool!r}",
        "beside": "",
        "cut": "[{'type': 'function', 'function'",
    }
    more = {"tools": json.dumps([tool, tool])} if form in ("beside", "cut") else {}
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
