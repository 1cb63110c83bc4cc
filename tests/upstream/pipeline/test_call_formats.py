"""What LLaMA-Factory's templates write as calls is read back as the same calls, by the format of that family."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llamafactory.data.formatter import FunctionFormatter
from llamafactory.data.template import TEMPLATES
from llamafactory.data.tool_utils import TOOLS, FunctionCall

from llamafactory_ext.toolcalls import ToolCall, find_calls, parse_calls
from llamafactory_ext.toolcalls.formats import FORMATS, UPSTREAM_FORMATS
from toolcalls.call_strategies import can_write, declare

pytestmark = pytest.mark.fast

_TAGS = (
    *("</parameter>", "<parameter=x>", "</function>", "<tool_call>", "</tool_call>", "<arg_key>", "</arg_value>"),
    *('<|"|>', "[TOOL_CALLS]", "</minimax:tool_call>", "<invoke", "</tool_calls>", "Action:", "<|tool_call_end|>"),
    *("<tool_call|>", "</seed:tool_call>", '"', "'", "\\", ",", "]", ")", "}"),
)
_WORDS = st.sampled_from([*_TAGS, "Paris", "漢字", "größe", "😀", "\n", "  ", "3", "true", "null", '{"a": 1}', "[1]"])
_TEXTS = st.one_of(st.lists(_WORDS, max_size=5).map("".join), st.lists(_WORDS, max_size=4).map(" ".join))
_KEYS = st.sampled_from(("x", "city", "from", "größe", "user_id", "odd key", "n-1", "a.b"))
_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), _TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=2)),
    max_leaves=5,
)
_CALLS = st.lists(
    st.builds(
        ToolCall, st.sampled_from(("f", "get_weather", "函数", "_x1")), st.dictionaries(_KEYS, _VALUES, max_size=3)
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda call: call.name,
)


def _content(calls: Sequence[ToolCall]) -> str:
    written = [{"name": call.name, "arguments": dict(call.arguments)} for call in calls]
    return json.dumps(written if len(written) > 1 else written[0], ensure_ascii=False)


def _written(formatter: FunctionFormatter, calls: Sequence[ToolCall]) -> str:
    """The text of a turn; a slot for a special token becomes a token of that kind."""
    slots = formatter.apply(content=_content(calls))
    return "".join(slot if isinstance(slot, str) else "</s>" for slot in slots)


def _lfm2_reads(call: ToolCall) -> bool:
    """Tell whether Python's syntax without escapes states the call."""
    texts = [value for value in call.arguments.values() if isinstance(value, str)]
    closed = any(mark in text.replace(" ", "").replace("\n", "") for text in texts for mark in ('",', '")'))
    return all(map(str.isidentifier, call.arguments)) and not any("\\" in text for text in texts) and not closed


# Beside what our own format refuses to write.
_UPSTREAM_WRITES: dict[str, Callable[[ToolCall], bool]] = {"lfm2": _lfm2_reads}


def _writable(calls: Sequence[ToolCall], tool_format: str) -> list[ToolCall]:
    name = UPSTREAM_FORMATS[tool_format]
    writes = _UPSTREAM_WRITES.get(tool_format, lambda _: True)
    found = [call for call in calls if can_write(call, name) and writes(call)]
    return found[:1] if tool_format == "glm4" else found  # which refuses several calls


def test_every_upstream_format_has_one_of_ours() -> None:
    assert UPSTREAM_FORMATS.keys() == TOOLS.keys()
    assert set(UPSTREAM_FORMATS.values()) <= FORMATS.keys()


@pytest.mark.parametrize("tool_format", TOOLS)
@settings(max_examples=40)
@given(_CALLS)
def test_what_a_format_writes_is_read_back(tool_format: str, calls: list[ToolCall]) -> None:
    originals = _writable(calls, tool_format)
    if not originals:
        return
    slots = ["[TOOL_CALLS] {{content}}"] if tool_format == "mistral" else ["{{content}}"]
    text = _written(FunctionFormatter(slots=slots, tool_format=tool_format), originals)
    tools = [tool for call in originals for tool in declare(call)]
    assert parse_calls(text, UPSTREAM_FORMATS[tool_format], tools) == originals
    if tool_format == "mistral":
        assert parse_calls(TOOLS["mistral"].function_formatter(_functions(originals)), "json", tools) == originals


def _functions(calls: Sequence[ToolCall]) -> list[Any]:
    return [FunctionCall(call.name, json.dumps(dict(call.arguments), ensure_ascii=False)) for call in calls]


_ORDINARY = [
    ToolCall(
        "get_weather", {"city": "Val d'Isère", "days": 3, "units": None, "where": {"lat": 1.5, "tags": ["a", True]}}
    ),
    ToolCall("now"),
]


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_a_template_writes_is_read_back(template: str) -> None:
    formatter = TEMPLATES[template].format_function
    assert isinstance(formatter, FunctionFormatter)
    calls = _writable(_ORDINARY, formatter.tool_format or "")
    text = _written(formatter, calls)
    found = find_calls(
        text, UPSTREAM_FORMATS[formatter.tool_format or ""], [tool for call in calls for tool in declare(call)]
    )
    assert [one.call for one in found] == calls
    assert [text[one.name_start : one.name_end] for one in found] == [call.name for call in calls]
