"""The one reader: texts of models, drafts, malformed calls, hostile input; and everyone who reads calls asks it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llamafactory_ext
from llamafactory_ext.errors import CallParseError, DataError, OptionError
from llamafactory_ext.metrics.answers import find_any_calls
from llamafactory_ext.templates.messages import read_calls
from llamafactory_ext.tl.reward import reward_parts
from llamafactory_ext.tl.sft.examples import NOT_PARSED, Settings, judge_example
from llamafactory_ext.toolcalls import FORMATS, Tool, ToolCall, detect, detect_turn, find_calls, render_calls
from toolcalls.call_strategies import CALLS, exact
from toolcalls.model_texts import TEXTS, TOOLS, all_texts
from toolcalls.test_hostile_input import PIECES

pytestmark = pytest.mark.fast


def read(text: str, declared: tuple[Tool, ...] = TOOLS) -> tuple[ToolCall, ...] | None:
    """The calls, None for a text that is refused."""
    try:
        return tuple(found.call for found in detect(text, declared))
    except CallParseError:
        return None


@pytest.mark.parametrize("name", TEXTS)
def test_texts_of_models(name: str) -> None:
    text, calls = TEXTS[name]
    assert read(text) == calls
    found = [] if calls is None else detect(text, TOOLS)
    for one in found:
        assert 0 <= one.start <= one.name_start < one.name_end <= one.end <= len(text)
        assert text[one.name_start : one.name_end] == one.call.name


def test_every_reader_of_calls_finds_the_same() -> None:
    """The reward, tl_sft, the scorers and the templates, on more than two hundred texts."""
    texts = list(all_texts())
    assert len(texts) > 200
    for name, text, calls in texts:
        assert read(text) == calls, name
        parsed = reward_parts(text, [ToolCall("get_weather", {"city": "Paris"})], TOOLS).parts
        assert ("unparsable" in parsed) == (not calls), name
        if calls and {call.name for call in calls} <= {tool.name for tool in TOOLS}:
            assert reward_parts(text, calls, TOOLS).total == 1.0, name
            assert reward_parts(text, text, TOOLS).total == 1.0, name
        turns = [("user", "?"), ("assistant", text), ("observation", "21"), ("assistant", "21.")]
        judged = judge_example([{"role": role, "content": said} for role, said in turns], TOOLS, Settings())
        assert judged.calls.get(1, ()) == (calls or ()), name
        assert (judged.problem == NOT_PARSED) == (not calls), name
        known = read(text, ())  # scorers and templates are told of no tools
        try:
            scored: tuple[ToolCall, ...] | None = tuple(find_any_calls(text))
        except CallParseError:
            scored = None
        assert (scored or ()) == (known or ()), name
        turn = read_calls(text)
        assert (turn.calls if turn is not None else ()) == (known or ()), name


@pytest.mark.parametrize("form", FORMATS)
def test_a_known_format_reads_nothing_else(form: str) -> None:
    call = ToolCall("get_weather", {"city": "Paris"})
    rendered = render_calls([call], form)
    assert [found.call for found in detect(rendered, TOOLS, form)] == [call]
    assert detect("It is fine (I am sure).", TOOLS, form) == []
    assert detect("", (), form) == []


def test_a_known_format_takes_no_other_for_a_call() -> None:
    text = '{"name": "get_weather", "arguments": {}}'
    assert detect(text, TOOLS, "qwen") == detect(text, TOOLS, "python") == []
    with pytest.raises(CallParseError, match="At character"):
        detect("get_weather(city=", (), "python")
    with pytest.raises(OptionError, match="choose one of python"):
        detect(text, (), "yaml")


def test_the_last_group_counts() -> None:
    first, second = '<tool_call>{"name": "a"}</tool_call>', '<tool_call>{"name": "b"}</tool_call>'
    assert [found.call.name for found in detect(f"{first}, \n{second}")] == ["a", "b"]
    assert [found.call.name for found in detect(f"{first} No, rather: {second}")] == ["b"]
    found = detect_turn(f"Before. {first}\n{second} After.")
    assert (found.start, found.end) == (8, 8 + len(first) + 1 + len(second))


def test_declared_tools_choose_between_readings_only() -> None:
    text = 'get_weather\n{"name": "f", "arguments": {}}'
    assert [found.call.name for found in detect(text)] == ["f"]
    assert [found.call.name for found in detect(text, [Tool("get_weather")])] == ["get_weather"]
    assert [found.call.name for found in detect('{"name": "unknown", "arguments": {}}', TOOLS)] == ["unknown"]


_THOUGHTS = st.sampled_from(
    (
        "",
        "<think>\n\n</think>\n\n",
        '<think>\nget_weather(city=\'x\') {"name": "f", "arguments": {}}\n</think>\n\n',
        "[THINK]f(a=1)[/THINK]",
        "<scratch_pad>\nf(a=1)\n</scratch_pad>\n",
        "◁think▷f(a=1)◁/think▷",
        "<seed:think>f(a=1)</seed:think>",
        "f(a=1) or so </think>\n",
    )
)
_PROSE = st.sampled_from(("", "I will look.\n", "漢字.\n", 'So "it" is:\n', "1 + 1 = 2\n", "See (above)\n"))


@settings(max_examples=300)
@given(_THOUGHTS, _PROSE, CALLS, _PROSE)
def test_what_is_rendered_is_read_after_thoughts_and_within_prose(
    thought: str, before: str, calls: list[ToolCall], after: str
) -> None:
    for name, form in FORMATS.items():
        writable = [call for call in calls if form.can_name(call.name)][: None if form.typed else 1]
        if not writable:
            continue
        try:
            rendered = render_calls(writable, name)
        except DataError:
            continue
        declared = [] if form.typed else _declaring(writable)
        text = f"{thought}{before}{rendered}" + (f"\n{after}" if after else "")
        found = [one.call for one in detect(text, declared, name)]
        assert list(map(exact, found)) == list(map(exact, writable)), (name, text)


def _declaring(calls: list[ToolCall]) -> list[Tool]:
    """Tools whose schemas say which values are texts."""
    texts: dict[str, dict[str, dict[str, str]]] = {}
    for call in calls:
        for name, value in call.arguments.items():
            texts.setdefault(call.name, {})[name] = {"type": "string"} if isinstance(value, str) else {}
    return [Tool(name, parameters=parameters) for name, parameters in texts.items()]


def _heaps(count: int, random: Random) -> Iterator[str]:
    pieces = [*PIECES, "<think>", "</think>", "Observation:", *(form.example for form in FORMATS.values())]
    for _ in range(count):
        yield "".join(random.choices(pieces, k=random.randrange(1, 12)))


def test_any_heap_of_marks_is_read_or_refused() -> None:
    outcomes = {None: 0, "calls": 0, "none": 0}
    for text in _heaps(5_000, Random(0)):
        calls = read(text)
        outcomes[None if calls is None else "calls" if calls else "none"] += 1
    assert min(outcomes.values()) > 200


@pytest.mark.parametrize("piece", [*PIECES, "<think>", "</think>", "Observation:", "<tool_call>{", '{"name": "f", '])
def test_long_texts_end(piece: str) -> None:
    """The reader counts its steps and refuses what costs more than a fixed number per character."""
    read(piece * (30_000 // len(piece)), ())


def test_nothing_else_tries_one_format_after_the_other() -> None:
    """No loop or comprehension over formats stands outside the reader's room."""
    package = Path(llamafactory_ext.__file__).parent
    found = []
    for file in package.rglob("*.py"):
        if file.relative_to(package).parts[0] == "toolcalls":
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            loops = [node.iter] if isinstance(node, ast.For | ast.comprehension) else []
            for loop in loops:
                if "FORMATS" in ast.unparse(loop) and "parse_calls" in file.read_text("utf-8"):
                    found.append(f"{file.name}:{ast.unparse(loop)}")
    assert found == []


def test_a_text_with_calls_holds_what_is_looked_for_first() -> None:
    for name, form in FORMATS.items():
        assert form.needs, name
        for text in (form.example, *(text for text, _ in TEXTS.values())):
            try:
                find_calls(text, name, TOOLS)
            except CallParseError:
                continue
            assert any(need in text for need in form.needs), (name, text)
