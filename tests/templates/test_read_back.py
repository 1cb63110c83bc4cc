"""What a template writes is read back as the calls of the record: for every template and every kind of call."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llamafactory", reason="LLaMA-Factory is not installed: it registers the templates")

from llamafactory.data.processor import SupervisedDatasetProcessor
from llamafactory.data.template import TEMPLATES, Template
from llamafactory.hparams import DataArguments

from llamafactory_ext.data.entries import DataEntry
from llamafactory_ext.data.message_parts import NO_PLACE
from llamafactory_ext.tl.ppo.queries import make_queries
from llamafactory_ext.tl.ppo.rewards import tool_reward
from llamafactory_ext.tl.reward import tool_call_reward
from llamafactory_ext.tl.sft.examples import Settings
from llamafactory_ext.tl.sft.tokens import locate
from llamafactory_ext.toolcalls import Tool, ToolCall, detect
from llamafactory_ext.upstream.pipeline.dialogues import encode_turn
from llamafactory_ext.upstream.pipeline.fitting import fit_template
from llamafactory_ext.upstream.pipeline.pieces import TracingTokenizer
from llamafactory_ext.upstream.pipeline.records import messages_of, words_of
from llamafactory_ext.upstream.pipeline.templates import call_format_of
from llamafactory_ext.upstream.pipeline.weights import take_example
from tiny import tiny_tokenizer

pytestmark = pytest.mark.fast

TEXT = {"type": "string"}
PARAMETERS = {"city": TEXT, "days": {"type": "integer"}, "tags": {"type": "array"}, "more": {"type": "object"}}
TOOLS = [Tool(name, "A tool.", PARAMETERS) for name in ("get_weather", "get_time", "math.area")]
COLUMN = json.dumps(
    [
        {"name": tool.name, "description": "A tool.", "parameters": {"type": "object", "properties": PARAMETERS}}
        for tool in TOOLS
    ]
)
PARIS = ToolCall("get_weather", {"city": "Paris"})
CALLS: dict[str, list[ToolCall]] = {
    "one": [PARIS],
    "several": [PARIS, ToolCall("get_time", {"city": "Rome"})],
    "no arguments": [ToolCall("get_weather")],
    "types": [ToolCall("get_weather", {"city": "5", "days": 5, "tags": ["a", 1, None], "more": {"x": True}})],
    "a call in a value": [ToolCall("get_weather", {"city": "get_time(city=1)"})],
    "a tag in a value": [ToolCall("get_weather", {"city": "<tool_call> [TOOL_CALLS] Action: x"})],
    "Unicode": [ToolCall("get_weather", {"city": "Zürich 東京 😀"})],
    "a dotted name": [ToolCall("math.area", {"city": "Paris"})],
}
THOUGHT = "Maybe get_time(city='Rome'), or get_weather."


def templates() -> list[str]:
    """One template for each way to write calls and thoughts, and all of ours."""
    kinds: dict[Any, str] = {}
    for name, template in TEMPLATES.items():
        own = name if hasattr(template, "prompts") else ""
        written = (template.format_function, template.format_assistant)
        slots = json.dumps([getattr(part, "slots", []) for part in written], default=sorted)
        kinds.setdefault((own, template.format_tools.tool_format, slots, tuple(template.thought_words or ())), name)
    return list(kinds.values())


def turns(calls: list[ToolCall], thought: str = "") -> list[dict[str, str]]:
    made = [{"name": call.name, "arguments": dict(call.arguments)} for call in calls]
    text = json.dumps(made if len(made) > 1 else made[0], ensure_ascii=False)
    return [{"role": "user", "content": "Weather?"}, {"role": "function", "content": thought + text}]


def thoughts(name: str) -> tuple[str, ...]:
    """No thought, and one in the template's own words; upstream refuses other words in a call's message.

    Its templates that put a dialogue together in a way of their own (Gemma's, Mistral's) refuse all of them.
    """
    template = TEMPLATES[name]
    if type(template)._encode is not Template._encode and not hasattr(template, "prompts"):
        return ("",)
    opening, closing = template.thought_words or ("<think>\n", "\n</think>\n\n")
    return "", f"{opening}{THOUGHT}{closing}"


def refused_by_upstream(name: str, calls: list[ToolCall]) -> bool:
    """GLM-4 of upstream writes one call only."""
    return TEMPLATES[name].format_tools.tool_format == "glm4" and len(calls) > 1


@pytest.mark.parametrize("name", templates())
def test_what_a_template_writes_is_read_back(name: str) -> None:
    tokenizer, template = tiny_tokenizer(), TEMPLATES[name]
    known = call_format_of(template)
    for kind, calls in CALLS.items():
        if refused_by_upstream(name, calls):
            continue
        for thought in thoughts(name):
            _, text = encode_turn(template, tokenizer, turns(calls, thought), "", COLUMN)
            found = detect(text, TOOLS, known)
            assert [one.call for one in found] == calls, (kind, thought, text)
            assert tool_call_reward(text, text, TOOLS, call_format=known) == 1
            assert tool_call_reward(text, calls, TOOLS, call_format=known) == 1
            for one in found:
                assert text[one.name_start : one.name_end] == one.call.name
                assert one.name_start > text.find(THOUGHT) + len(THOUGHT) * bool(thought), "not in the thought"
            if known != "glm4":  # the plain name on a line may stand anywhere
                assert [one.call for one in detect(text, TOOLS)] == calls, (kind, thought, text)


@pytest.mark.parametrize("name", templates())
def test_key_tokens_lie_in_the_call(name: str) -> None:
    trace, template = TracingTokenizer(tiny_tokenizer()), TEMPLATES[name]
    for kind, calls in CALLS.items():
        if refused_by_upstream(name, calls):
            continue
        _, target = template.encode_oneturn(trace, turns(calls, thoughts(name)[-1]), "", COLUMN)
        text, _ = trace.read(target)
        spans = locate(text, calls, TOOLS, call_format_of(template))
        for call, span in zip(calls, spans, strict=True):
            assert text[span.name_start : span.name_end] == call.name, kind
            assert span.name_start > text.find(THOUGHT) + len(THOUGHT) * (THOUGHT in text), kind


@pytest.mark.parametrize("name", templates())
def test_ppo_finds_its_queries(name: str) -> None:
    tokenizer, template = tiny_tokenizer(), TEMPLATES[name]
    messages = [*turns([PARIS]), {"role": "observation", "content": "20"}]
    example = {"_prompt": messages, "_response": [{"role": "assistant", "content": "20."}], "_tools": COLUMN}

    def encode(said: Any, system: str, tools: str) -> tuple[list[int], str]:
        """The tiny tokenizer lacks some templates' marks."""
        ids, text = encode_turn(template, tokenizer, said, system, tools)
        return [token or 0 for token in ids], text

    queries, faults = make_queries(
        [example | {"_system": ""}],
        encode,
        tool_reward("paper", None),
        longest=99_999,
        last_only=False,
        skip_bad=False,
        call_format=call_format_of(template),
    )
    assert (len(queries), faults.lines()) == (1, [])


@pytest.mark.parametrize("name", templates())
def test_right_records_are_never_called_wrong(name: str) -> None:
    """Training's own steps, with the comparison of every text with its record."""
    tokenizer = tiny_tokenizer()
    slots = [slot for part in vars(TEMPLATES[name]).values() for slot in getattr(part, "slots", [])]
    tokenizer.add_tokens([slot["token"] for slot in slots if isinstance(slot, dict)], special_tokens=True)
    parts = {"tokenizer": tokenizer, "processor": None}
    data_args = DataArguments(template=name, cutoff_len=100_000)
    processor = SupervisedDatasetProcessor(template=fit_template(parts, data_args), data_args=data_args, **parts)
    for kind, calls in CALLS.items():
        if refused_by_upstream(name, calls):
            continue
        for thought in thoughts(name):
            said = [*turns(calls, thought), {"role": "observation", "content": "20"}]
            row = {
                "_prompt": said,
                "_response": [{"role": "assistant", "content": "It is 20."}],
                "_system": "Be kind.",
            }
            for settings in (None, Settings(), Settings(use_pkt=False)):
                taken = take_example(processor, row | {"_tools": COLUMN}, settings)
                assert taken.tagged is not None, (kind, taken.problem, taken.why)
                assert taken.tagged.misread == (), (kind, thought)


WRITTEN = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
WORDS = "I will look it up."
MARKED = {
    "LLaMA-Factory's marks": f"<tool_call>{WRITTEN}</tool_call>",
    "the same, on lines": f"<tool_call>\n{WRITTEN}\n</tool_call>",
    "LFM's marks": f"<|tool_call_start|>{WRITTEN}<|tool_call_end|>",
    "Mistral's mark": f"[TOOL_CALLS] [{WRITTEN}]",
    "no marks": WRITTEN,
}


@pytest.mark.parametrize("name", templates())
def test_words_before_the_calls_of_a_sharegpt_turn_are_kept_or_told(name: str) -> None:
    """Whatever marks the record has around its calls: the call is trained, and its words too, or it is said."""
    tokenizer, template, words = tiny_tokenizer(), TEMPLATES[name], words_of(name)
    entry = DataEntry.of(
        "d", {"formatting": "sharegpt", "columns": {"messages": "m", "tools": "tools"}}, Path("d.json")
    )
    for kind, marked in MARKED.items():
        for said in (f"{WORDS}\n", f"{WORDS} ", ""):
            messages = [{"from": "human", "value": "Weather?"}, {"from": "function_call", "value": said + marked}]
            dialogue = entry.dialogue({"m": messages, "tools": COLUMN}, words)
            assert not isinstance(dialogue, str), (kind, dialogue)
            _, text = encode_turn(template, tokenizer, messages_of(dialogue), "", COLUMN)
            assert [one.call for one in detect(text, TOOLS, call_format_of(template))] == [PARIS], (kind, text)
            told = NO_PLACE in [what for _, what in dialogue.lost]
            assert (WORDS in text) == (bool(said) and not told), (kind, text)
            assert told <= (words.call is None and bool(said)), kind
