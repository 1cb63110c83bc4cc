"""Calls in data records: every way in which they are written, and what is no call."""

from __future__ import annotations

import json

import pytest

from llamafactory_ext.errors import DataError
from llamafactory_ext.templates import TEMPLATES, Message
from llamafactory_ext.templates.messages import read_calls
from llamafactory_ext.toolcalls import ToolCall, parse_calls

CALL = {"name": "f", "arguments": {"x": "a\nb", "n": [1, None]}}
OTHER = {"name": "g", "arguments": {}}
TEXT = json.dumps(CALL)
SEVERAL = json.dumps([CALL, OTHER])
RECORDS = {
    TEXT: ("", [CALL]),
    json.dumps(CALL, indent=2): ("", [CALL]),
    SEVERAL: ("", [CALL, OTHER]),
    f"I think.\n{TEXT}": ("I think.", [CALL]),
    f"First {{x}}\nthen\n\n{SEVERAL}\n": ("First {x}\nthen", [CALL, OTHER]),
    f"<think>\nhm\n</think>\n\n{TEXT}": ("<think>\nhm\n</think>", [CALL]),
    f"I think.\n<tool_call>{TEXT}</tool_call>": ("I think.", [CALL]),
    f"<tool_call>\n{TEXT}\n</tool_call>\n<tool_call>{json.dumps(OTHER)}</tool_call>": ("", [CALL, OTHER]),
    f"<tool_call>{SEVERAL}</tool_call> Done": ("Done", [CALL, OTHER]),
    json.dumps({"name": "f", "arguments": json.dumps(CALL["arguments"])}): ("", [CALL]),
    json.dumps({"name": "g", "parameters": {}}): ("", [OTHER]),
    '{"name": "g"}': ("", [OTHER]),
    "<tool_call>g</tool_call>": ("", [OTHER]),  # as GLM-4.7 writes it
    '{"name": "g", "arguments": null}': ("", [OTHER]),
    f"{TEXT} and more": ("and more", [CALL]),
    "Thought: so\nAction: g\nAction Input: {}": ("Thought: so", [OTHER]),
}
NO_CALLS = (
    "",
    "Hello",
    "{}",
    "[]",
    "[1]",
    '{"name": 3, "arguments": {}}',
    '{"name": "", "arguments": {}}',
    '{"name": "f", "arguments": "{"}',
    '{"name": "f", "arguments": [1]}',
    "<tool_call>{x</tool_call>",
    json.dumps([CALL, 3]),
)


@pytest.mark.parametrize("content", RECORDS)
def test_read(content: str) -> None:
    turn = read_calls(content)
    assert turn is not None
    thought, calls = RECORDS[content]
    assert turn.thought == thought
    assert list(turn.calls) == [ToolCall(call["name"], call["arguments"]) for call in calls]


@pytest.mark.parametrize("content", NO_CALLS)
def test_no_calls(content: str) -> None:
    assert read_calls(content) is None
    with pytest.raises(DataError, match=r"holds no calls: .* or calls in the format of llama3_api_bank"):
        TEMPLATES["llama3_api_bank"].render([Message("user", "Hi"), Message("function", content)])


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_written_calls_are_found_again(template) -> None:  # type: ignore[no-untyped-def]
    """Thought and several calls in one reply; what a model writes like it parses to the same calls."""
    content = f"Let me see.\n{SEVERAL}"
    written = template.render([Message("user", "Hi"), Message("function", content)])[1]
    assert "Let me see." in written
    turn = read_calls(content)
    assert turn is not None
    assert parse_calls(written.removesuffix(template.chat.end), template.style.call_format) == list(turn.calls)
    again = template.render([Message("user", "Hi"), Message("function", template.style.write_calls(turn))])[1]
    assert again == written


def test_wrong_order_is_named() -> None:
    with pytest.raises(DataError, match=r"Message 2 is by the wrong side \(user\)"):
        TEMPLATES["phi3_api_bank"].render([Message("user", "Hi"), Message("user", "there")])


def test_thoughts_are_labelled_once() -> None:
    for thought in ("hm", "Thought: hm"):
        messages = [Message("user", "Hi"), Message("function", f"{thought}\n{json.dumps(OTHER)}")]
        assert TEMPLATES["llama3_toolalpaca"].render(messages)[1] == (
            "Thought: hm\nAction: g\nAction Input: {}<|eot_id|>"
        )
