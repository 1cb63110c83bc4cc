"""Exported chat templates: what `apply_chat_template` renders is, token for token, what the template trains."""

from __future__ import annotations

import copy
import datetime as calendar
import json
from typing import Any

import pytest
from llamafactory.data.template import TEMPLATES as UPSTREAM
from llamafactory.data.template import Template, get_template_and_fix_tokenizer
from llamafactory.hparams import DataArguments

from llamafactory_ext.serving.infer.prompts import TextPrompts
from llamafactory_ext.serving.infer.questions import Question, read_tools
from llamafactory_ext.templates import Message
from llamafactory_ext.templates.messages import RESULT_SEPARATOR
from llamafactory_ext.templates.openai import openai_messages, openai_tools
from llamafactory_ext.upstream.pipeline.chat_template import exported_chat_template
from llamafactory_ext.upstream.pipeline.dates import on_day, with_day
from llamafactory_ext.upstream.pipeline.templates import PromptTemplate
from templates.tokenizers_like import PAIRS, byte_level, like, sentencepiece

pytestmark = pytest.mark.fast

_QWEN = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "</tool_call>"),
    *("<tool_response>", "</tool_response>"),
)
_GLM_ROLES = ("system", "user", "assistant", "observation")
_GEMMA = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")
_PHI4 = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|tool|>", "<|/tool|>")
_MISTRAL = tuple(f"[{tag}]" for name in ("INST", "TOOL_RESULTS", "AVAILABLE_TOOLS") for tag in (name, f"/{name}"))
TOKENIZERS = {
    "llama3": lambda: like("llama3"),
    "mistral": lambda: sentencepiece("first", (*_MISTRAL, "[TOOL_CALLS]")),
    "ministral": lambda: byte_level(("<s>", "</s>", *_MISTRAL, "[TOOL_CALLS]"), "<s>", "</s>"),
    "qwen": lambda: byte_level(_QWEN, None, "<|im_end|>"),
    "qwen3": lambda: byte_level(_QWEN, None, "<|im_end|>"),
    "qwen3_nothink": lambda: byte_level(_QWEN, None, "<|im_end|>"),
    "qwen3_5": lambda: byte_level(_QWEN, None, "<|im_end|>"),
    "gemma2": lambda: byte_level(_GEMMA, "<bos>", "<eos>"),
    "gemma3": lambda: byte_level(_GEMMA, "<bos>", "<eos>"),
    "phi4_mini": lambda: byte_level(_PHI4, None, "<|endoftext|>"),
    "glm4": lambda: like("chatglm4"),
    "glm4_moe": lambda: byte_level(
        ("<|endoftext|>", "[gMASK]", "<sop>", *(f"<|{role}|>" for role in _GLM_ROLES), *_QWEN[3:7]),
        *(None, "<|endoftext|>"),
    ),
    "smollm2": lambda: byte_level(_QWEN, "<|im_start|>", "<|im_end|>"),
}
UNSUPPORTED = {"gemma4", "gemma4n"}

TOOLS = [
    {
        "name": "get_weather",
        "description": 'The "weather" of a city,\nhour by hour. é 日本',
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Where it's."},
                "days": {"type": "integer", "description": "How many.", "enum": [1, 2]},
                "units": {"type": "array", "items": {"type": "string"}, "description": "Which."},
            },
            "required": ["city"],
        },
    },
    {"name": "now", "description": "The time.", "parameters": {"type": "object", "properties": {}, "required": []}},
]
CALL = {"name": "get_weather", "arguments": {"city": 'O\'Fallon, "MO"', "days": 2, "units": ["C", "F"]}}
UNICODE = {"name": "get_weather", "arguments": {"city": "Zürich 日本 😀"}}
BARE = {"name": "now", "arguments": {}}


def user(text: str) -> Message:
    return Message("user", text)


def says(text: str) -> Message:
    return Message("assistant", text)


def calls(*given: dict[str, Any], thought: str = "") -> Message:
    return Message("function", thought + json.dumps(given[0] if len(given) == 1 else list(given), ensure_ascii=False))


def told(*contents: str) -> Message:
    return Message("observation", RESULT_SEPARATOR.join(contents))


THOUGHT = "<think>\nWhere is it?\n</think>\n\n"
# Messages by what they hold; each with whether tools are given.
DIALOGUES: dict[str, tuple[bool, list[Message]]] = {
    "plain": (False, [user("Hi"), says("Hello.")]),
    "plain, several turns": (False, [user("Hi\n\nthere"), says("Hello."), user("And 日本?"), says("Well, it's 😀.")]),
    "tools, no call": (True, [user("Hi"), says("Hello.")]),
    "one call": (True, [user("Weather?"), calls(CALL)]),
    "unicode": (True, [user("Wetter? é"), calls(UNICODE)]),
    "no arguments": (True, [user("Time?"), calls(BARE)]),
    "two calls": (True, [user("Both?"), calls(CALL, BARE)]),
    "thought": (True, [user("Weather?"), calls(CALL, thought=THOUGHT)]),
    "result": (True, [user("Weather?"), calls(CALL), told('{"sun": true}'), says("Sunny.")]),
    "several turns": (
        True,
        [
            *(user("Weather?"), calls(CALL), told('{"sun": true}'), calls(BARE), told("12:00"), says("Sunny.")),
            *(user("Again?"), calls(BARE), told("Error: no clock"), says("I cannot say.")),
        ],
    ),
    "thoughts in several turns": (
        True,
        [user("Weather?"), calls(CALL, thought=THOUGHT), told("sun"), says("Sun."), user("?"), says(f"{THOUGHT}Yes.")],
    ),
    "several results": (True, [user("Both?"), calls(CALL, BARE), told('{"sun": true}', "12:00"), says("Now, sun.")]),
}


def prepared(name: str, tokenizer: Any, **options: Any) -> Any:
    template = get_template_and_fix_tokenizer(tokenizer, DataArguments(template=name, **options))
    return copy.copy(template)


def as_dicts(messages: list[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def tools_for(template: Any) -> list[dict[str, Any]]:
    """The tools; upstream's `default` format writes no enumeration of numbers."""
    tools = copy.deepcopy(TOOLS)
    if getattr(template.format_tools, "tool_format", None) == "default" and not isinstance(template, PromptTemplate):
        tools[0]["parameters"]["properties"]["days"]["enum"] = ["1", "2"]  # type: ignore[index]
    return tools


def check(template: Any, tokenizer: Any, name: str, system: str) -> bool:
    """Compare one dialogue, with and without generation prompt; False where training itself refuses it."""
    with_tools, messages = DIALOGUES[name]
    tools = json.dumps(tools_for(template), ensure_ascii=False) if with_tools else ""
    try:
        pairs = template.encode_multiturn(tokenizer, as_dicts(messages), system, tools)
    except (RuntimeError, ValueError):
        return False
    trained = [token for pair in pairs for part in pair for token in part]
    given = {"tools": openai_tools(tools) or None, "tokenize": False}
    written = openai_messages(as_dicts(messages), system)
    text = tokenizer.apply_chat_template(written, **given)
    if isinstance(template, PromptTemplate):
        assert text.endswith(template.prompts.chat.reply.after)
        text = text.removesuffix(template.prompts.chat.reply.after)
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == trained, (name, text)
    asked = openai_messages(as_dicts(messages[:-1]), system)
    prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, **given)
    expected = trained[: len(trained) - len(pairs[-1][1])]
    assert tokenizer(prompt, add_special_tokens=False)["input_ids"] == expected, (name, prompt)
    question = Question("1", "x", tuple(messages[:-1]), system, read_tools(tools))
    assert TextPrompts(tokenizer, None, "model").prompt(question).text == prompt
    return True


def check_all(template: Any, tokenizer: Any) -> set[str]:
    """Compare all dialogues; the names of those that training refuses."""
    refused = set()
    for name in DIALOGUES:
        for system in ("", "Be terse.\nBe kind."):
            if not check(template, tokenizer, name, system):
                refused.add(name)
    return refused


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_ours(name: str, kind: str) -> None:
    tokenizer = like(kind)
    template = prepared(name, tokenizer)
    tokenizer.chat_template = exported_chat_template(template, tokenizer).text
    assert check_all(template, tokenizer) == set()


@pytest.mark.parametrize("name", TOKENIZERS)
def test_of_upstream(name: str) -> None:
    tokenizer = copy.deepcopy(TOKENIZERS[name]())
    size = len(tokenizer)
    template = prepared(name, tokenizer)
    assert len(tokenizer) == size
    made = exported_chat_template(template, tokenizer)
    assert made.reason == ""
    tokenizer.chat_template = made.text
    refused = check_all(template, tokenizer)
    # Upstream's own limits: GLM-4 holds one call in a turn, templates of Llama 2's kind no thought before a call.
    thoughts = {"thought", "thoughts in several turns"}
    allowed = {"glm4": {"two calls", "several results"}, "mistral": thoughts, "ministral": thoughts}
    assert refused == allowed.get(name, thoughts if name.startswith("gemma") else set())


@pytest.mark.parametrize("name", [name for name, one in UPSTREAM.items() if not isinstance(one, PromptTemplate)])
def test_every_template_of_upstream_is_written_or_says_why(name: str) -> None:
    made = exported_chat_template(UPSTREAM[name], like("llama3"))
    assert bool(made.reason) == (name in UNSUPPORTED) != bool(made.text)


@pytest.mark.parametrize("thinking", [True, False, None])
@pytest.mark.parametrize("drops", [False, True])
def test_thoughts_follow_the_options(thinking: bool | None, drops: bool) -> None:
    tokenizer = copy.deepcopy(TOKENIZERS["qwen3"]())
    template = prepared("qwen3", tokenizer)
    template.enable_thinking = thinking
    tokenizer.chat_template = exported_chat_template(template, tokenizer, drops_thoughts=drops).text
    for _, messages in DIALOGUES.values():
        given = as_dicts(messages)
        pairs = template.encode_multiturn(tokenizer, given, "", "", discarding_history_cot=drops)
        trained = [token for pair in pairs for part in pair for token in part]
        text = tokenizer.apply_chat_template(openai_messages(given), tokenize=False)
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == trained
        prompt = tokenizer.apply_chat_template(openai_messages(given[:-1]), tokenize=False, add_generation_prompt=True)
        if thinking is None and THOUGHT in given[-1]["content"]:
            continue  # nobody knows beforehand whether the model will think
        assert tokenizer(prompt, add_special_tokens=False)["input_ids"] == trained[: -len(pairs[-1][1])]


def test_requests_may_ask_for_no_thought() -> None:
    tokenizer = copy.deepcopy(TOKENIZERS["qwen3"]())
    tokenizer.chat_template = exported_chat_template(prepared("qwen3", tokenizer), tokenizer).text
    asked = {"conversation": [{"role": "user", "content": "Hi"}], "tokenize": False, "add_generation_prompt": True}
    plain = tokenizer.apply_chat_template(**asked)
    assert tokenizer.apply_chat_template(**asked, enable_thinking=False) == f"{plain}<think>\n\n</think>\n\n"


def test_reasoning_kept_apart_goes_back_before_the_calls() -> None:
    """As servers with a reasoning parser send it; white space that was trimmed on the way is put back."""
    tokenizer = copy.deepcopy(TOKENIZERS["qwen3"]())
    tokenizer.chat_template = exported_chat_template(prepared("qwen3", tokenizer), tokenizer).text
    whole = openai_messages(as_dicts(DIALOGUES["thought"][1]))
    expected = tokenizer.apply_chat_template(whole, tokenize=False)
    for change in ({"content": THOUGHT.strip()}, {"content": None, "reasoning_content": "Where is it?"}):
        assert tokenizer.apply_chat_template([whole[0], {**whole[1], **change}], tokenize=False) == expected


def test_what_vllm_makes_of_a_request() -> None:
    """A null description for a tool without one, null contents, contents in parts, no arguments."""
    tokenizer = copy.deepcopy(TOKENIZERS["qwen"]())
    template = prepared("qwen", tokenizer)
    tokenizer.chat_template = exported_chat_template(template, tokenizer).text
    bare = {"name": "now", "parameters": {"type": "object", "properties": {}}}
    call = {"id": "1", "type": "function", "function": {"name": "now", "arguments": None}}
    text = tokenizer.apply_chat_template(
        [
            {"role": "user", "content": [{"type": "text", "text": "Time?"}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
        ],
        tools=[{"type": "function", "function": {"name": "now", "description": None, **bare}}],
        tokenize=False,
    )
    pairs = template.encode_multiturn(tokenizer, as_dicts([user("Time?"), calls(BARE)]), "", json.dumps([bare]))
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == [*pairs[0][0], *pairs[0][1]]


def test_the_day_of_training_is_kept_and_may_be_set() -> None:
    tokenizer = like("llama3")
    template = prepared("llama3", tokenizer)
    tools = openai_tools(json.dumps(TOOLS))
    first = calendar.date(2025, 3, 9)
    with on_day(calendar.date(2026, 1, 1)):
        dated = with_day(template, first)
        made = exported_chat_template(dated, tokenizer), exported_chat_template(template, tokenizer, day=first)
    assert made[0] == made[1]
    tokenizer.chat_template = made[0].text
    asked = {"conversation": [{"role": "user", "content": "Hi"}], "tools": tools, "tokenize": False}
    assert "Today Date: 09 Mar 2025\n" in tokenizer.apply_chat_template(**asked)
    assert "Today Date: 26 Jul 2024\n" in tokenizer.apply_chat_template(**asked, date_string="26 Jul 2024")
    assert check(dated, tokenizer, "result", "Be terse.")


def test_a_format_that_is_not_understood_is_refused() -> None:
    class Shouting(type(UPSTREAM["llama3"].format_tools)):  # type: ignore[misc]
        def apply(self, **kwargs: Any) -> Any:
            return [str(super().apply(**kwargs)[0]).upper()]

    template: Template = copy.copy(UPSTREAM["llama3"])
    template.format_tools = Shouting(tool_format="llama3")
    made = exported_chat_template(template, like("llama3"))
    assert made.text == ""
    assert made.reason == "its tools (llama3) are presented in no way known here"
