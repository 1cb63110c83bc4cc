"""The comparison of a trained prompt with the one that a tokenizer's chat template makes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.hparams import DataArguments

from llamafactory_ext.errors import DataError
from llamafactory_ext.templates.messages import RESULT_SEPARATOR
from llamafactory_ext.templates.openai import openai_messages, openai_tools
from llamafactory_ext.templates.served import DIFFERS, NO_CHAT_TEMPLATE, REFUSED, compare_prompts
from llamafactory_ext.upstream.pipeline.served import served_as_trained
from templates.dialogues import TOOLS
from templates.tokenizers_like import like

pytestmark = pytest.mark.fast

ASKED = [{"role": "user", "content": "Hi"}]
PLAIN = "{% for message in messages %}<|start_header_id|>{{ message['content'] }}<|eot_id|>{% endfor %}"


def ids(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return found


def test_equal_prompts_are_no_finding() -> None:
    tokenizer = like("llama3")
    tokenizer.chat_template = PLAIN
    assert compare_prompts(ids(tokenizer, "<|start_header_id|>Hi<|eot_id|>"), ASKED, [], tokenizer) is None


@pytest.mark.parametrize(
    ("trained", "shown"),
    [
        ("<|start_header_id|>Ho<|eot_id|>", "<|start_header_id|>Ho<|eot_id|>(end)"),
        ("<|start_header_id|>Hi<|eot_id|><|eom_id|>", "<|start_header_id|>Hi<|eot_id|><|eom_id|>(end)"),
        ("<|start_header_id|>Hi", "<|start_header_id|>Hi(end)"),
        ("", "(end)"),
    ],
)
def test_where_they_begin_to_differ(trained: str, shown: str) -> None:
    tokenizer = like("llama3")
    tokenizer.chat_template = PLAIN
    finding = compare_prompts(ids(tokenizer, trained), ASKED, [], tokenizer)
    assert finding is not None
    assert finding.kind == DIFFERS
    served = ids(tokenizer, "<|start_header_id|>Hi<|eot_id|>")
    assert finding.position is not None
    assert ids(tokenizer, trained)[: finding.position] == served[: finding.position]
    assert ids(tokenizer, trained)[finding.position :][:1] != served[finding.position :][:1]
    assert finding.trained
    assert shown.endswith(finding.trained), "a few tokens before the difference and all behind it"
    assert "<|start_header_id|>Hi<|eot_id|>(end)".endswith(finding.served)
    assert "\n" not in finding.text


def test_no_chat_template_and_one_that_raises_are_findings_of_their_own() -> None:
    tokenizer = like("llama3")
    tokenizer.chat_template = None
    finding = compare_prompts([1], ASKED, [], tokenizer)
    assert finding is not None
    assert finding.kind == NO_CHAT_TEMPLATE
    for text in ("{{ raise_exception('no\ntools') }}", "{% if %}", "{{ messages[7]['content'].x() }}"):
        tokenizer.chat_template = text
        finding = compare_prompts([1], ASKED, [], tokenizer)
        assert finding is not None
        assert finding.kind == REFUSED
        assert "\n" not in finding.text


CALL = {"name": "f", "arguments": {"x": {"é": [1, None]}}}


@pytest.mark.parametrize(
    ("content", "before"),
    [
        (json.dumps(CALL), ""),
        (f"<think>\nhm\n</think>\n\n{json.dumps(CALL)}", "<think>\nhm\n</think>\n\n"),
        (f"<think>hm</think>{json.dumps(CALL)}", "<think>hm</think>"),
        (f"Let me see.\n<tool_call>{json.dumps(CALL)}</tool_call>", "Let me see.\n"),
    ],
)
def test_calls_become_tool_calls_with_objects(content: str, before: str) -> None:
    (_, reply) = openai_messages([*ASKED, {"role": "function", "content": content}])
    assert reply["content"] == before
    assert [call["function"] for call in reply["tool_calls"]] == [CALL]


def test_results_in_a_row_become_messages_that_answer_their_calls() -> None:
    turns = [
        *ASKED,
        {"role": "function", "content": json.dumps([CALL, CALL])},
        {"role": "observation", "content": f"a{RESULT_SEPARATOR}b"},
        {"role": "assistant", "content": "Done."},
    ]
    written = openai_messages(turns, "Be kind.")
    assert [message["role"] for message in written] == ["system", "user", "assistant", "tool", "tool", "assistant"]
    assert [message.get("tool_call_id") for message in written[3:5]] == ["call_0", "call_1"]


def test_tools_are_wrapped_once_and_must_be_objects() -> None:
    bare, wrapped = {"name": "f"}, {"type": "function", "function": {"name": "f"}}
    assert openai_tools(json.dumps([bare, wrapped])) == [wrapped, wrapped]
    assert openai_tools(json.dumps(bare)) == [wrapped]
    assert openai_tools("") == openai_tools(None) == openai_tools(" ") == []
    for text in ("{", "[1]", '"f"'):
        with pytest.raises(DataError, match="tools column"):
            openai_tools(text)


def example(tools: str = json.dumps(TOOLS), role: str = "function", content: str = json.dumps(CALL)) -> dict[str, Any]:
    answer = [{"role": role, "content": content}]
    return {"_prompt": list(ASKED), "_response": answer, "_system": "", "_tools": tools}


def test_the_first_three_examples_with_tools_are_compared() -> None:
    tokenizer = like("qwen")
    template = get_template_and_fix_tokenizer(tokenizer, DataArguments(template="qwen"))
    broken = {"_prompt": [], "_response": [], "_tools": "x"}
    unwritten = example(tools="{")
    rows = [example(tools=""), broken, *[example()] * 5, unwritten]
    served = served_as_trained(template, tokenizer, rows, drops_thoughts=False, one_turn=False)
    assert (served.compared, len(served.findings)) == (3, 3)
    (line,) = served.lines()
    assert line.startswith("Served prompts: in 3 of 3 examples with tools, trained and served prompts differ from")
    assert "llamafactory-cli export writes a chat template that renders what was trained" in line
    nothing = served_as_trained(template, tokenizer, rows[:2], drops_thoughts=False, one_turn=False)
    assert (nothing.compared, nothing.lines()) == (0, [])
