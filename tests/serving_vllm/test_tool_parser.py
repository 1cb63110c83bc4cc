"""vLLM's tool parser of ours: in every format, at once and streamed in any pieces, the calls that were written."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace
from typing import Any

import pytest
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.parser.abstract_parser import Parser
from vllm.tool_parsers import ToolParserManager

from llamafactory_ext.serving import vllm_plugin
from llamafactory_ext.toolcalls import FORMATS, ToolCall, render_calls

NAME = vllm_plugin.NAME
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Tells the weather.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string"},
                    "days": {"type": "integer"},
                    "where": {"type": "object"},
                    "zip": {"type": "string"},
                },
                "required": ["city"],
            },
        },
    },
    {"type": "function", "function": {"name": "now"}},
]
CALLS = {
    "one": [ToolCall("get_weather", {"city": "Paris", "days": 3, "zip": "75001"})],
    "no arguments": [ToolCall("now", {})],
    "unicode, nested": [ToolCall("get_weather", {"city": "漢字 größe", "where": {"a": [1, None, {"b": True}]}})],
    "several": [ToolCall("get_weather", {"city": "Rome", "days": 1}), ToolCall("get_weather", {"city": "Oslo"})],
    "line breaks": [ToolCall("get_weather", {"city": "a\nb\n\nc"})],
}


@pytest.fixture(autouse=True, scope="module")
def registered() -> None:
    vllm_plugin.register()


def request(**more: Any) -> ChatCompletionRequest:
    asked = {"model": "m", "messages": [{"role": "user", "content": "?"}], "tools": TOOLS, "tool_choice": "auto"}
    return ChatCompletionRequest.model_validate(asked | more)


def parser(name: str) -> Parser:
    """As the server makes it for a request."""
    cls = ToolParserManager.get_tool_parser(name)
    made: Parser = _delegating(cls)(SimpleNamespace(get_vocab=dict), request().tools)
    return made


def _delegating(cls: Any) -> Any:
    from vllm.parser.abstract_parser import DelegatingParser

    return type("Made", (DelegatingParser,), {"tool_parser_cls": cls})


def whole(name: str, text: str, **more: Any) -> tuple[list[tuple[str, Any]], str]:
    _, content, calls = parser(name).parse(text, request(**more), enable_auto_tools=True)
    return [(call.name, json.loads(call.arguments)) for call in calls or ()], content or ""


def streamed(name: str, text: str, seed: int, **more: Any) -> tuple[list[tuple[str, Any]], str]:
    """The same text in pieces of 1 to 9 characters, put together as a client does."""
    made, random_ = parser(name), random.Random(seed)
    calls: dict[int, list[str]] = {}
    content, at = "", 0
    while at < len(text):
        piece = text[at : (at := at + random_.randint(1, 9))]
        delta = made.parse_delta(piece, [1], request(**more), [], finished=at >= len(text))
        if delta is None:
            continue
        content += delta.content or ""
        for call in delta.tool_calls or ():
            name_and_arguments = calls.setdefault(call.index, ["", ""])
            name_and_arguments[0] += call.function.name or ""
            name_and_arguments[1] += call.function.arguments or ""
    return [(name, json.loads(arguments)) for name, arguments in calls.values()], content


def writable(calls: list[ToolCall], form: str) -> list[ToolCall]:
    """As many of the calls as one turn of the format takes."""
    return calls[:1] if form in ("glm4", "react") else calls


@pytest.mark.parametrize("kind", CALLS)
@pytest.mark.parametrize("form", FORMATS)
def test_every_format(form: str, kind: str) -> None:
    calls = writable(CALLS[kind], form)
    text = render_calls(calls, form)
    expected = [(call.name, dict(call.arguments)) for call in calls]
    for name in (NAME, f"{NAME}_{form}"):
        assert whole(name, text) == (expected, "")
        for seed in range(3):
            assert streamed(name, text, seed) == (expected, "")


@pytest.mark.parametrize("form", ["qwen", "mistral_v11", "glm4_moe", "deepseek_v31"])
def test_words_around_calls_are_content(form: str) -> None:
    text = f"Let me see.\nI look it up; 3 < 4 and [1] stays.\n{render_calls(CALLS['one'], form)}"
    calls, content = whole(NAME, text)
    assert [name for name, _ in calls] == ["get_weather"]
    assert content == "Let me see.\nI look it up; 3 < 4 and [1] stays."
    for seed in range(5):
        again, spoken = streamed(NAME, text, seed)
        assert again == calls
        assert spoken.strip() == content


@pytest.mark.parametrize(
    "text",
    [
        "It is sunny.\n\nIn Paris (France) a < b, and `f(x)` is code.\n\n- one\n- two",
        '{"city": "Paris", "sun": true}',
        "```python\nprint('hello')\n```\nThat prints a line.",
        "",
        "one\n",
    ],
)
def test_an_answer_stays_what_it_is(text: str) -> None:
    assert whole(NAME, text) == ([], text)
    for seed in range(5):
        assert streamed(NAME, text, seed) == ([], text)


def test_an_answer_comes_line_by_line() -> None:
    made = parser(NAME)
    text = "First line.\nSecond line.\nThird."
    deltas = [
        made.parse_delta(piece, [1], request(), [], finished=index == len(text) - 1)
        for index, piece in enumerate(text)
    ]
    assert [delta.content for delta in deltas if delta] == ["First line.\n", "Second line.\nThird."]


@pytest.mark.parametrize("form", FORMATS)
def test_a_cut_call_is_no_call_with_fewer_arguments(form: str) -> None:
    """What stops in the middle is told as text, or is whole: never a call with a part of its arguments."""
    calls = [ToolCall("get_weather", {"city": "Paris", "days": 3})]
    text = render_calls(calls, form)
    expected = [("get_weather", {"city": "Paris", "days": 3})]
    # What docs/call_formats.md says of these two: they have no mark that ends a call.
    allowed = {"react": [[("get_weather", {})]], "glm4_moe": [[("get_weather", {"city": "Paris"})]]}.get(form, [])
    name = f"{NAME}_{form}"
    for end in range(len(text)):
        found, content = whole(name, text[:end])
        assert found in ([], expected, *allowed), (text[:end], found)
        assert found or content == text[:end]
        assert streamed(name, text[:end], end)[0] == found


def test_only_the_format_that_was_named() -> None:
    text = render_calls(CALLS["one"], "llama3")
    assert whole(f"{NAME}_llama3", text)[0]
    assert whole(f"{NAME}_qwen", text) == ([], text)


def test_no_tool_is_wanted() -> None:
    text = render_calls(CALLS["one"], "qwen")
    assert whole(NAME, text, tool_choice="none") == ([], text)
    assert streamed(NAME, text, 0, tool_choice="none") == ([], text)


def test_special_tokens_stay_where_they_mark_calls() -> None:
    made = parser(NAME)
    assert made.adjust_request(request()).skip_special_tokens is False
    assert made.adjust_request(request(tool_choice="none")).skip_special_tokens is True


def test_forced_calls_are_read_in_the_models_own_format() -> None:
    text = render_calls(CALLS["one"], "qwen")
    expected = [("get_weather", {"city": "Paris", "days": 3, "zip": "75001"})]
    for choice in ("required", {"type": "function", "function": {"name": "get_weather"}}):
        assert whole(NAME, text, tool_choice=choice)[0] == expected
        assert streamed(NAME, text, 1, tool_choice=choice)[0] == expected


def test_a_tool_that_cannot_be_read_harms_no_other() -> None:
    odd = {"type": "function", "function": {"name": "odd", "parameters": {"type": "object", "required": "all"}}}
    text = render_calls(CALLS["one"], "qwen")
    assert whole(NAME, text, tools=[*TOOLS, odd])[0] == [("get_weather", {"city": "Paris", "days": 3, "zip": "75001"})]
