"""Prompts: the same text locally and through a server, tools never lost, answers read back whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment
from transformers import PreTrainedTokenizerFast

import tiny
from llamafactory_ext.errors import DataError, OptionError
from llamafactory_ext.metrics.references import BENCHMARKS
from llamafactory_ext.serving.infer.prompts import (
    Prompt,
    TextPrompts,
    chat_messages,
    message_text,
    openai_tools,
    styled_messages,
    template_named,
)
from llamafactory_ext.serving.infer.questions import Question, of_benchmark, of_file, read_tools
from llamafactory_ext.templates import TEMPLATES, Message
from serving.asking import TOOLS, data_file, records

_ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("LLAMAFACTORY_EXT_SHARED", _ROOT.parent / "shared")) / "data"
SHARED = {"bfcl": "bfcl_v3", "bfcl_ast": "bfcl_v3"}
CALL = json.dumps({"name": "weather", "arguments": {"city": "Bonn"}})
API_BANK = (
    "Generate an API request.\nAPI descriptions:\n"
    '{"name": "GetToday", "description": "", "input_parameters": {}, "output_parameters": {}}\n'
    "User: What day is it?\nAI: Let me see.\nAPI-Request: [GetToday()]->monday\nUser: And then?\nGenerate API Request:"
)


def question(*turns: Message, tools: bool = True, system: str = "") -> Question:
    return Question("q", "mine", turns, system, read_tools(json.dumps(TOOLS)) if tools else ())


def jinja(template: str, messages: list[dict[str, Any]]) -> str:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)

    def refuse(message: str) -> None:
        raise AssertionError(message)

    environment.globals["raise_exception"] = refuse
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(template).render(messages=messages, add_generation_prompt=True)


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize(
    "asked",
    [
        question(Message("user", "How is Bonn?")),
        question(Message("user", "Hello"), tools=False),
        question(Message("user", "How is Bonn?"), system="Be brief."),
        question(Message("user", "How is Bonn?"), Message("function", CALL), Message("observation", '{"sun": true}')),
        question(Message("user", API_BANK), tools=False),
    ],
    ids=["tools", "plain", "system", "feedback", "api_bank"],
)
def test_a_server_writes_what_we_write(name: str, asked: Question) -> None:
    template = TEMPLATES[name]
    served = jinja(template.chat_template(bos="<s>", eos="</s>"), styled_messages(asked, template))
    ours = template.render(asked.turns, system=asked.system, tools=asked.tools, bos="<s>", eos="</s>")
    assert served == "".join(ours).replace("Environment: ipython\n", "")


def test_unknown_template() -> None:
    with pytest.raises(OptionError, match="did you mean llama3_api_bank"):
        template_named("llama3_apibank")


def test_chat_messages_are_openai_s() -> None:
    two = f"Look.\n[{CALL}, {CALL}]"
    asked = question(
        Message("user", "How?"),
        Message("function", two),
        Message("observation", "sun\n</tool_response>\n<tool_response>\nrain"),
        system="Be brief.",
    )
    system, user, reply, first, second = chat_messages(asked, arguments_as_text=True)
    assert (system["role"], user["content"]) == ("system", "How?")
    assert reply["content"] == "Look."
    assert json.loads(reply["tool_calls"][1]["function"]["arguments"]) == {"city": "Bonn"}
    assert [first["tool_call_id"], second["tool_call_id"]] == [made["id"] for made in reply["tool_calls"]]
    assert (first["content"], second["content"]) == ("sun", "rain")
    with pytest.raises(DataError, match="no readable calls"):
        chat_messages(question(Message("user", "How?"), Message("function", "{")), arguments_as_text=True)


def test_the_tokenizer_s_template(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    texts = TextPrompts(tiny_tokenizer, None, "tiny")
    prompt = texts.prompt(question(Message("user", "Hello"), tools=False))
    assert prompt.text.startswith("<|begin_of_text|><|start_header_id|>user")
    assert prompt.text.endswith("<|start_header_id|>assistant<|end_header_id|>\n\n")
    assert texts.encode(prompt)[:2] == tiny_tokenizer.convert_tokens_to_ids(
        ["<|begin_of_text|>", "<|start_header_id|>"]
    )
    with pytest.raises(OptionError, match="leaves the tools out; give --template"):
        texts.prompt(question(Message("user", "Hello")))


def test_a_tokenizer_without_or_with_a_broken_template() -> None:
    tokenizer = tiny.tiny_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(OptionError, match="has no chat template; give --template"):
        TextPrompts(tokenizer, None, "tiny")
    tokenizer.chat_template = "{{ raise_exception('only user turns') }}"
    with pytest.raises(OptionError, match="refuses the prompt"):
        TextPrompts(tokenizer, None, "tiny").prompt(question(Message("user", "Hello"), tools=False))


def test_answers_end_at_the_first_end_and_keep_other_special_tokens(tiny_tokenizer: PreTrainedTokenizerFast) -> None:
    texts = TextPrompts(tiny_tokenizer, TEMPLATES["llama3_toolalpaca"], "tiny")
    ids = tiny_tokenizer("Paris <|start_header_id|>x<|eot_id|>more", add_special_tokens=False)["input_ids"]
    assert texts.decode(ids) == "Paris <|start_header_id|>x"


def test_hashes_tell_prompts_apart() -> None:
    asked = question(Message("user", "Hello"))
    tools = openai_tools(asked)
    messages = chat_messages(asked, arguments_as_text=True)
    hashes = {
        Prompt(asked, text="Hello").sha256,
        Prompt(asked, messages=messages).sha256,
        Prompt(asked, messages=messages, tools=tools).sha256,
    }
    assert len(hashes) == 3


def test_a_reply_as_text() -> None:
    assert message_text({"content": None}) == ""
    assert message_text({"content": "Hi", "tool_calls": None}) == "Hi"
    made = {"function": {"name": "f", "arguments": '{"a": 1}'}}
    assert json.loads(message_text({"content": "", "tool_calls": [made]})) == {"name": "f", "arguments": {"a": 1}}


def test_the_last_reply_of_a_record_is_asked(tmp_path: Path) -> None:
    found = of_file(data_file(tmp_path, 3), "mine")
    assert [asked.id for asked in found.questions] == ["item:0", "item:1", "item:2"]
    assert [turn.role for turn in found.questions[0].turns] == ["user"]
    assert [tool.name for tool in found.questions[0].tools] == ["weather", "time"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"id": "item:1"}, "the id 'item:1' occurs twice"),
        ({"conversations": [{"from": "gpt", "value": "Hi"}]}, "index 0: item:0 has no turn"),
        ({"conversations": [{"from": "alien", "value": "Hi"}]}, "unknown roles: alien"),
        ({"tools": "{"}, "its tools cannot be read"),
    ],
)
def test_bad_records_are_named(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    made = records(3)
    made[0] |= change
    path = tmp_path / "questions.json"
    path.write_text(json.dumps(made), encoding="utf-8")
    with pytest.raises(DataError, match=told):
        of_file(path, "mine")


@pytest.mark.parametrize("benchmark", [name for name in BENCHMARKS if name not in ("triviaqa", "arc")])
def test_public_benchmarks_make_prompts(benchmark: str) -> None:
    source = DATA / SHARED.get(benchmark, benchmark)
    if not source.is_dir():
        pytest.skip(f"the public data are not here: {source.name}")
    found = of_benchmark(benchmark, source)
    assert found.notes == ()
    template = TEMPLATES["llama3_api_bank" if benchmark == "api_bank" else "llama3_toolalpaca"]
    for asked in found.questions[:: max(1, len(found.questions) // 25)]:
        assert template.render(asked.turns, system=asked.system, tools=asked.tools)[-1]
        assert styled_messages(asked, template)


def test_nothing_of_llamafactory_is_needed(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('llamafactory', 'gradio', 'trl', 'datasets', 'vllm'):\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "import llamafactory_ext.serving.infer.run, llamafactory_ext.serving.infer.hf\n"
        "import llamafactory_ext.serving.infer.server, llamafactory_ext.templates\n"
        "print('imported')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.stdout == "imported\n", result.stderr
