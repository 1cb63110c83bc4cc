"""What a template writes otherwise than the record says is found; what it writes rightly is never called wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llamafactory_ext.data.read_back import NO_THOUGHT, NO_TOOLS, NO_WORDS, OTHER_CALLS, compare_turn, missing_tools
from llamafactory_ext.toolcalls import Tool

pytestmark = pytest.mark.fast

TOOLS = [Tool("get_weather", "", {"city": {"type": "string"}, "days": {"type": "integer"}}), Tool("get_time")]
CALL = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
OTHER = '{"name": "get_time", "arguments": {}}'
BOTH = f"[{CALL}, {OTHER}]"


def tagged(*calls: str) -> str:
    return "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in calls)


@pytest.mark.parametrize(
    ("record", "text", "what"),
    [
        (CALL, tagged(CALL), None),
        (BOTH, tagged(CALL, OTHER), None),
        (f"I look.\n<tool_call>{CALL}</tool_call>", f"I look.\n{tagged(CALL)}<|im_end|>", None),
        (f"<think>\nhm\n</think>\n\n{CALL}", f"<think>\nhm\n</think>\n\n{tagged(CALL)}", None),
        ('{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}', tagged(CALL), None),
        (CALL, tagged(CALL.replace('"Paris"', '"Paris", "days": null')), OTHER_CALLS),  # a union of Arrow's columns
        (BOTH, tagged(OTHER, CALL), OTHER_CALLS),
        (BOTH, tagged(CALL), OTHER_CALLS),
        (CALL, tagged(CALL, CALL), OTHER_CALLS),
        (CALL, tagged('{"name": "get_weather", "arguments": "{\\\\"city"}'), OTHER_CALLS),
        (CALL, "", OTHER_CALLS),
        (CALL, tagged(CALL)[:30], OTHER_CALLS),
        (f"I look.\n{CALL}", tagged(CALL), NO_WORDS),
        (f"<think>\nget_time, or get_weather?\n</think>\n\n{CALL}", tagged(CALL), NO_THOUGHT),
    ],
)
def test_calls_words_and_thoughts(record: str, text: str, what: str | None) -> None:
    found = compare_turn(3, {"role": "function", "content": record}, text, TOOLS, "qwen")
    assert [misread.what for misread in found] == ([] if what is None else [what])
    for misread in found:
        assert misread.place("x.json, index 7").startswith("x.json, index 7, turn 4: record ")


_LFM2 = '<|tool_call_start|>[get_weather(city="{}")]<|tool_call_end|>'


@pytest.mark.parametrize(
    "words", ["", "I look.\n", "<think>\nLet me plan it.\n</think>\n\n", "<think>\na b c\n</think>\n\nSo.\n"]
)
def test_calls_between_a_templates_own_marks_are_compared_too(words: str) -> None:
    """LFM2's records hold JSON between the marks behind words, and its template writes Python's syntax there."""
    message = {"role": "function", "content": f"{words}<|tool_call_start|>{CALL}<|tool_call_end|>"}
    assert compare_turn(1, message, words + _LFM2.format("Paris"), TOOLS, "lfm2") == []
    (other,) = compare_turn(1, message, words + _LFM2.format("Rome"), TOOLS, "lfm2")
    assert other.what == OTHER_CALLS
    lost = compare_turn(1, message, _LFM2.format("Paris"), TOOLS, "lfm2")
    assert bool(lost) == bool(words)
    assert {found.what for found in lost} <= {NO_WORDS, NO_THOUGHT}


def test_answers_are_compared_by_their_thoughts() -> None:
    answer = {"role": "assistant", "content": "<think>\nIt is 21.\n</think>\n\nWarm."}
    assert compare_turn(1, answer, "<think>\nIt is 21.\n</think>\n\nWarm.", TOOLS) == []
    assert [found.what for found in compare_turn(1, answer, "Warm.", TOOLS)] == [NO_THOUGHT]
    assert compare_turn(1, {"role": "assistant", "content": "f(x=1)"}, "anything", TOOLS) == []


def test_formats_without_types_are_compared_as_text() -> None:
    """A record may give "3" where its tool declares a number; GLM-4.5 writes both alike."""
    record = '{"name": "get_weather", "arguments": {"city": "Paris", "days": "3"}}'
    text = "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n<arg_key>days</arg_key>\n"
    message = {"role": "function", "content": record}
    assert compare_turn(1, message, f"{text}<arg_value>3</arg_value>\n</tool_call>", TOOLS, "glm4_moe") == []
    assert compare_turn(1, message, f"{text}<arg_value>4</arg_value>\n</tool_call>", TOOLS, "glm4_moe") != []


def test_tools_are_looked_for_in_the_prompt() -> None:
    assert missing_tools("get_weather and get_time", TOOLS) == []
    (found,) = missing_tools("get_weather", TOOLS)
    assert (found.what, found.detail, found.place("x")) == (NO_TOOLS, "get_time", "x: get_time")


def test_data_check_shows_what_the_template_writes_otherwise(tmp_path: Any) -> None:
    """A formatter that adds an argument, as a faulty version of upstream's might."""
    pytest.importorskip("llamafactory", reason="LLaMA-Factory is not installed: its templates write the calls")
    from llamafactory.data.formatter import FunctionFormatter

    import tiny
    from llamafactory_ext.data.checks.audit import audit
    from llamafactory_ext.data.entries import DataEntry
    from llamafactory_ext.upstream.pipeline.encoding import ExampleEncoder

    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = json.dumps([{"name": "get_weather", "description": "", "parameters": schema}])
    turns = [("human", "?"), ("function_call", CALL), ("observation", "20"), ("gpt", "20.")]
    record = {"conversations": [{"from": role, "value": text} for role, text in turns], "tools": tools}
    (tmp_path / "x.json").write_text(json.dumps([record]), encoding="utf-8")
    encoder = ExampleEncoder(str(tiny.save_tiny_model(tmp_path / "model")), "llama3", 4096)
    entry = DataEntry.of_file(tmp_path / "x.json")
    assert audit(entry, encoder).lines() == []

    class Faulty(FunctionFormatter):
        def apply(self, **given: Any) -> Any:
            return super().apply(**given | {"content": CALL.replace('"Paris"', '"Paris", "to": null')})

    own = encoder.processor.template.format_function
    encoder.processor.template.format_function = Faulty(slots=own.slots, tool_format=own.tool_format)
    (line,) = audit(entry, encoder).lines()
    for part in ("index 0, turn 2", 'record \'get_weather({"city": "Paris"})', '"to": null', OTHER_CALLS):
        assert part in line
