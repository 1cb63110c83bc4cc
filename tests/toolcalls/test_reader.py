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
from llamafactory_ext.metrics.answers import find_any_calls, predicted_calls
from llamafactory_ext.metrics.predictions import Prediction
from llamafactory_ext.serving.agent.dialogue import TextChat
from llamafactory_ext.templates.messages import read_calls
from llamafactory_ext.templates.styles import ToolStyle
from llamafactory_ext.tl.reward import reward_parts
from llamafactory_ext.tl.sft.examples import NOT_PARSED, Settings, judge_example
from llamafactory_ext.tl.sft.tokens import locate
from llamafactory_ext.toolcalls import FORMATS, Tool, ToolCall, detect, detect_turn, find_calls, render_calls
from toolcalls.call_strategies import CALLS, exact
from toolcalls.model_texts import TEXTS, TOOLS, all_texts
from toolcalls.test_hostile_input import PIECES

pytestmark = pytest.mark.fast


def read(text: str, declared: tuple[Tool, ...] = TOOLS, form: str | None = None) -> tuple[ToolCall, ...] | None:
    """The calls, None for a text that is refused."""
    try:
        return tuple(found.call for found in detect(text, declared, form))
    except CallParseError:
        return None


@pytest.mark.parametrize("form", FORMATS)
def test_the_calls_end_where_their_last_mark_ends(form: str) -> None:
    """What stands behind it is the answer's own text, and no mark is left in that."""
    text = render_calls([ToolCall("get_weather", {"city": "Paris"})], form)
    found = detect_turn(text, call_format=form)
    assert (found.start, found.end) == (0, len(text.rstrip()))


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
        for form in ("qwen", "react", "python"):  # the agent always knows how its model writes calls
            assert agent_calls(text, form) == read(text, (), form), (name, form)
        assert strict_calls(text) == (known or ()), name
        located = read_back(text, calls)
        assert located == (calls or ()), name


def agent_calls(text: str, form: str) -> tuple[ToolCall, ...] | None:
    """What the agent would execute of a model's reply; None where it tells the model that a call is malformed."""
    style = ToolStyle("for this test", form, lambda tools: "")
    stated = [call for _, call in TextChat(lambda messages, tokens: ({"content": text}, 0), style).turn([], 1).calls]
    return None if any(isinstance(call, str) for call in stated) else tuple(stated)  # type: ignore[arg-type]


def strict_calls(text: str) -> tuple[ToolCall, ...]:
    """What the strict scorers compare."""
    try:
        return tuple(predicted_calls(Prediction("1", "any", "", "", text, None)))
    except CallParseError:
        return ()


def read_back(text: str, calls: tuple[ToolCall, ...] | None) -> tuple[ToolCall, ...]:
    """What key tokens are counted from: each call where it stands in the text."""
    if not calls:
        return ()
    return tuple(found.call for found in locate(text, calls, TOOLS))


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


_READING = {
    *("detect", "detect_turn", "find_calls", "parse_calls", "find_any_calls", "predicted_calls", "read_calls"),
    *("find", "read"),  # of a format of the table
}


def _reads(node: ast.AST, *, of_formats: bool) -> bool:
    """Whether calls are read somewhere below."""
    names = _READING if of_formats else _READING - {"find", "read"}
    called = (one.func for one in ast.walk(node) if isinstance(one, ast.Call))
    return any((getattr(one, "id", None) or getattr(one, "attr", None)) in names for one in called)


def _names_formats(node: ast.AST) -> bool:
    """Whether the table of formats is meant, or names of several formats stand there."""
    texts = {one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return "FORMATS" in ast.unparse(node) or len(texts & FORMATS.keys()) > 1


def other_loops(source: str) -> list[str]:
    """Places that try formats one after the other: loops over formats that read, and reading again after a failure."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.For | ast.While):
            head = node.iter if isinstance(node, ast.For) else node.test
            if _names_formats(head) and _reads(node, of_formats=True):
                found.append(f"line {node.lineno}: a loop")
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            if any(_names_formats(one.iter) for one in node.generators) and _reads(node, of_formats=True):
                found.append(f"line {node.lineno}: a comprehension")
        elif isinstance(node, ast.Try):
            handlers = ast.Module([*node.handlers, *node.orelse, *node.finalbody], [])
            tries = ast.Module(node.body, [])
            if _reads(tries, of_formats=False) and _reads(handlers, of_formats=False):
                found.append(f"line {node.lineno}: a second reading")
    return found


def test_nothing_else_tries_one_format_after_the_other() -> None:
    """No loop over formats, and no second reading after a failed one, stands outside the reader's room."""
    package = Path(llamafactory_ext.__file__).parent
    found, looked = [], 0
    for file in package.rglob("*.py"):
        if file.relative_to(package).parts[0] != "toolcalls":
            looked += _reads(ast.parse(file.read_text("utf-8")), of_formats=False)
            found += [f"{file.relative_to(package)}, {place}" for place in other_loops(file.read_text("utf-8"))]
    assert found == []
    assert looked >= 10, "the files that read calls are among those looked at"


@pytest.mark.parametrize(
    "source",
    [
        "for name in FORMATS:\n    calls = find_calls(text, name)",
        "from x import toolcalls\nfor form in toolcalls.FORMATS.values():\n    form.find(cursor)",
        "found = [detect(text, (), form) for form in FORMATS if form != 'json']",
        "found = next(parse_calls(text, name) for name in ('qwen', 'json'))",
        "NAMES = 1\nfor name in ['python', 'react']:\n    try:\n        calls = toolcalls.parse_calls(text, name)\n"
        "    except CallParseError:\n        continue",
        "try:\n    calls = parse_calls(text, 'qwen')\nexcept CallParseError:\n    calls = parse_calls(text, 'json')",
        "try:\n    calls = detect(text)\nexcept CallParseError:\n    calls = other.find_any_calls(text)",
    ],
)
def test_such_a_loop_would_be_found(source: str) -> None:
    assert len(other_loops(source)) == 1
    assert other_loops("calls = detect(text)\nfor call in calls:\n    use(call)") == []


def test_a_text_with_calls_holds_what_is_looked_for_first() -> None:
    for name, form in FORMATS.items():
        assert form.needs, name
        for text in (form.example, *(text for text, _ in TEXTS.values())):
            try:
                find_calls(text, name, TOOLS)
            except CallParseError:
                continue
            assert any(need in text for need in form.needs), (name, text)
