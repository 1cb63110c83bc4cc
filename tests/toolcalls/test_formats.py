"""Hand-written texts of every format, after the papers' tables and the public data; and what must be refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from llamafactory_ext.errors import CallParseError, NoCallError
from llamafactory_ext.toolcalls import FORMATS, find_calls, parse_calls, render_calls
from toolcalls import family_texts

pytestmark = pytest.mark.fast

Expected = list[tuple[str, dict[str, Any]]]
_DOCUMENTATION = Path(__file__).resolve().parents[2] / "docs/call_formats.md"

READ: list[tuple[str, str, Expected]] = [
    ("python", "random_advice()", [("random_advice", {})]),  # TL-Training, Table 14
    ("python", "f(arg='x', n=3)", [("f", {"arg": "x", "n": 3})]),
    ("python", 'f(a="x", b=true, c=null, d=-2, e=.5)', [("f", {"a": "x", "b": True, "c": None, "d": -2, "e": 0.5})]),
    ("python", "[math.area(side=4), g(v=[0.5, 1e3])]", [("math.area", {"side": 4}), ("g", {"v": [0.5, 1000.0]})]),
    ("python", "send(to='a', from='b (x, y)')", [("send", {"to": "a", "from": "b (x, y)"})]),
    ("python", "I call it (see above) now: f( x = 1 , )", [("f", {"x": 1})]),
    (
        "python",
        "f(point=(1, 2), one=(3,), same=(4), none=())",
        [("f", {"point": [1, 2], "one": [3], "same": 4, "none": []})],
    ),
    ("python", "f(code='line 1\nline 2', path='C:\\d')", [("f", {"code": "line 1\nline 2", "path": "C:\\d"})]),
    ("python", "f(x=0x1F, y=1_000)", [("f", {"x": 31, "y": 1000})]),
    ("python", "f(text='''it's\n\"so\"''')", [("f", {"text": 'it\'s\n"so"'})]),
    ("api_bank", "API-Request: [ToolSearcher(keywords='checker')]", [("ToolSearcher", {"keywords": "checker"})]),
    (
        "api_bank",
        "[GetUserToken(username='foo', password=\"it's\")]->{'token': 'a'}",
        [("GetUserToken", {"username": "foo", "password": "it's"})],
    ),
    ("api_bank", "[R(a=80, b=600), R(a=90, b=8)]", [("R", {"a": 80, "b": 600}), ("R", {"a": 90, "b": 8})]),
    (
        "api_bank",
        "[D(city=New York, time=2034-01-01 10:00:00, n=2)]",
        [("D", {"city": "New York", "time": "2034-01-01 10:00:00", "n": 2})],
    ),
    ("nexusraven", "Call: f(x='a')<bot_end> \nThought: g(y=1) is not needed.", [("f", {"x": "a"})]),
    ("nexusraven", "Call: f(x='a'); g();", [("f", {"x": "a"}), ("g", {})]),
    (
        "json",
        '{"arguments": {"query": "Bitcoin", "limit": "5"}, "name": "trends"}',
        [("trends", {"query": "Bitcoin", "limit": "5"})],
    ),
    (
        "json",
        '[{"name": "f", "arguments": {}}, {"name": "g", "arguments": {"a": [{}]}}]',
        [("f", {}), ("g", {"a": [{}]})],
    ),
    (
        "json",
        '{"type": "function", "function": {"name": "f", "arguments": "{\\"a\\": 1}"}, "id": "c1"}',
        [("f", {"a": 1})],
    ),
    ("json", '{"name": "f", "arguments": {"a": 1, }, }', [("f", {"a": 1})]),
    (
        "json",
        "{'name': 'f', 'arguments': {'a': 'it\\'s', 'b': [True, None,], 'c': 'Val d\\'Isere'}}",
        [("f", {"a": "it's", "b": [True, None], "c": "Val d'Isere"})],
    ),
    (
        "json",
        "{'name': 'f', 'arguments': {'c': 'Val d'Isere', 'd': 'say \"x\"'}}",
        [("f", {"c": "Val d'Isere", "d": 'say "x"'})],
    ),
    ("json", '{"name": "f", /* why */ "arguments": {"a": 1} // so\n}', [("f", {"a": 1})]),
    ("json", '{"name": "f", "arguments": null}', [("f", {})]),
    ("json", '{"name": "f", "arguments": ""}', [("f", {})]),
    ("json", '{"name": "f"}', [("f", {})]),
    ("json", '{"name": "f", "arguments": "\\"{\\\\\\"a\\\\\\": 1}\\""}', [("f", {"a": 1})]),
    ("qwen", '<tool_call>\n{"name": "f", "arguments": {}}', [("f", {})]),
    ("qwen", '<tool_call>[{"name": "f", "arguments": {}}, {"name": "g"}]</tool_call>', [("f", {}), ("g", {})]),
    ("react", "Action: f\nAction Input: ", [("f", {})]),
    ("react", "Action: f\nAction Input: None\nObservation: x", [("f", {})]),
    ("react", 'Action: f\nAction Input: ```json\n{"a": 1}\n```', [("f", {"a": 1})]),
    ("react", "Action: f\nAction Input: {'a': 'b'}", [("f", {"a": "b"})]),
    ("python", "get-weather(city='x')", [("get-weather", {"city": "x"})]),
    ("api_bank", "[f(city='Val d'Isere')]", [("f", {"city": "Val d'Isere"})]),
    ("json", 'Data {"a": 1}, then {"name": "f", "arguments": {}}', [("f", {})]),
    (
        "llama3",
        '{"name": "f", "parameters": {"x": null}}; {"name": "g", "parameters": {}}',
        [("f", {"x": None}), ("g", {})],
    ),
    ("llama3", '<|python_tag|>{"type": "function", "name": "f", "parameters": {"s": "a\nb"}}', [("f", {"s": "a\nb"})]),
    (
        "qwen",
        '<tool_call>\n{"name": "f", "arguments": {"t": "</tool_call>"}}\n</tool_call>',
        [("f", {"t": "</tool_call>"})],
    ),
    ("qwen", 'So:\n<tool_call>{"name": "f", "arguments": {}}</tool_call> x', [("f", {})]),
    ("mistral", '[TOOL_CALLS] [{"name": "f", "arguments": {"x": [1]}, "id": "123456789"}]</s>', [("f", {"x": [1]})]),
    (
        "mistral",
        '[TOOL_CALLS][{"name": "f", "arguments": {}}, {"name": "g", "arguments": {}}]',
        [("f", {}), ("g", {})],
    ),
    ("react", 'Thought: go\nAction: f\nAction Input: {"year": "2018"}\nObservation: 3', [("f", {"year": "2018"})]),
    ("react", 'Thought: ... Action: f Action Input: { "a": {"b": "Action: g"} }', [("f", {"a": {"b": "Action: g"}})]),
    ("react", "Action: get rate\nAction Input:\n{}\nAction: g\nAction Input: {}", [("get rate", {}), ("g", {})]),
    ("glm4", 'get_rate\n{"from": "EUR", "to": "GBP"}', [("get_rate", {"from": "EUR", "to": "GBP"})]),
    ("glm4", "Two calls follow.\nf\n{}\ng-2\n {}\nDone.", [("f", {}), ("g-2", {})]),
]

REFUSED: list[tuple[str, str, str]] = [
    ("python", "f(x=", "a value is expected"),
    ("python", "f(x='a", "never closed"),
    ("python", "f(x='a'", "comma or the closing parenthesis"),
    ("python", "f(x=1 y=2)", "comma or the closing parenthesis"),
    ("python", "f(x=1, 'b')", "name=value is expected"),
    ("python", "f(x=1, x=2)", "given twice"),
    ("python", "f(x=1, **{'x': 2})", "given twice"),
    ("python", "f(x=Paris)", "no literal"),
    ("python", "f(x=g(y=1))", "no literal"),
    ("python", "f(x=1/6)", "no literal"),
    ("python", "f(x=1j)", "no literal"),
    ("python", "f(x=1e999)", "no literal"),
    ("python", "f(x=__import__('os'))", "no literal"),
    ("python", "f(x={1, 2})", "key in quotes"),
    ("python", "f(x={1: 2})", "key in quotes"),
    ("python", "f(x={'a' 2})", "a colon"),
    ("python", "f(x={'a': 1 'b': 2})", "a comma or '}'"),
    ("python", "f(x={'a': 1, 'a': 2})", "given twice"),
    ("python", "f(x=[1 2])", "a comma or ']'"),
    ("python", "f(x=[1, 2)", "a comma or ']'"),
    ("python", "f(x='\\x')", "malformed escape"),
    ("python", "f(x='\\ud800')", "lone surrogates"),
    ("python", "f(x=" + "9" * 5000 + ")", "no literal"),
    ("python", "f(x=" + "[" * 100 + "]" * 100 + ")", "nested more than"),
    ("python", "f(x=[" + "1," * 60000 + "])", "more than 50000 values"),
    ("python", "f() " * 6000, "more than 5000 calls"),
    ("api_bank", "[f('a')]", "name=value is expected"),
    ("api_bank", "[f(x='['a', 'b']')]", "comma or the closing parenthesis"),
    ("api_bank", "[f(x=)]", "a value is expected"),
    ("api_bank", "[f(x=1)", "closing bracket"),
    ("api_bank", "[f(x=1), 3]", "a tool's name"),
    ("nexusraven", "Call: nothing<bot_end>", "a tool's name"),
    ("nexusraven", "Call: f(g(x=1))<bot_end>", "name=value is expected"),
    ("json", '{"name": "f", "arguments": {"a": }}', "malformed JSON"),
    ("json", '{"name": "f", "arguments": {"a": 1}', "comma or '}'"),
    ("json", '{"name": "f", "arguments": [1]}', "no JSON object"),
    ("json", '{"name": "f", "arguments": "{"}', "malformed JSON|comma or|no JSON"),
    ("json", '{"name": "f", "arguments": "x"}', "text that is no JSON"),
    ("json", '{"name": "f", "arguments": {"x": NaN}}', "NaN"),
    ("json", '{"name": "f", "arguments": {"x": 1e999}}', "JSON cannot write"),
    ("json", '{"name": "f", "arguments": {"x": "\\ud800"}}', "lone surrogates"),
    ("json", '{"name": "", "arguments": {}}', "no name"),
    ("json", '{"name": "f", "arguments": {"x": ' + "[" * 200 + "]" * 200 + "}}", "nested more than"),
    ("json", '{"a": ' * 100000, "nested too deep"),
    ("json", '{"name": "f", "arguments": {"x": [' + "1," * 60000 + "1]}}", "more than 50000 values"),
    ("json", '{"name": "f", x}', "double quotes"),
    ("json", '{"name" 1}', "a colon"),
    ("qwen", "<tool_call>f(x=1)</tool_call>", "JSON object is expected"),
    ("qwen", '<tool_call>{"name": "f", "arguments": {}} then', "</tool_call> is expected"),
    ("qwen", '<tool_call>{"arguments": {}}</tool_call>', 'needs "name"'),
    ("mistral", '[TOOL_CALLS] {"name": "f"}', "list of calls"),
    ("mistral", "[TOOL_CALLS] []", "JSON object is expected"),
    ("mistral", '[TOOL_CALLS] [{"name": "f", "arguments": {}}', "closing bracket"),
    ("react", "Action: f", "'Action Input:' is expected"),
    ("react", "Action: f\nAction Input: London", "JSON object"),
    ("react", 'Action: f\nAction Input: {"a": London}', "malformed JSON"),
    ("react", "Action: f\nor g\nAction Input: {}", "name of one tool"),
    ("react", "Action:\nAction Input: {}", "name of one tool"),
    ("glm4", "f\n{'a': b}", "malformed JSON"),
    ("json", '{"name": "f", "arguments": {"a": NaN}}', "NaN is no JSON value"),
    ("json", '{"name": "f", "arguments": {"a": -Infinity}}', "Infinity"),
    ("json", "{'name': 'f', 'arguments': {'a': nan}}", "malformed JSON"),
]

NO_CALL: list[tuple[str, str]] = [
    ("python", "f (x) and print('hello') are no calls with names"),
    ("python", "if f(x == 1): pass"),
    ("api_bank", "API-Request: Locator(location='x')"),  # so in the published level-3 data
    ("json", '{"name": "Bob", "age": 3} and {} and {x}'),
    ("react", "Final Answer: my actions: none"),
    ("glm4", 'The answer is\n{"a": 1}'),
]


@pytest.mark.parametrize(("name", "text", "expected"), READ + family_texts.READ)
def test_reads(name: str, text: str, expected: Expected) -> None:
    found = find_calls(text, name)
    assert [(one.call.name, one.call.arguments) for one in found] == expected
    assert [text[one.name_start : one.name_end] for one in found] == [call for call, _ in expected]


@pytest.mark.parametrize(("name", "text", "problem"), REFUSED + family_texts.REFUSED)
def test_refuses(name: str, text: str, problem: str) -> None:
    with pytest.raises(CallParseError, match=problem) as caught:
        parse_calls(text, name)
    assert not isinstance(caught.value, NoCallError)
    assert "character" in caught.value.message


@pytest.mark.parametrize(("name", "text"), NO_CALL + family_texts.NO_CALL)
def test_finds_no_call(name: str, text: str) -> None:
    with pytest.raises(NoCallError):
        parse_calls(text, name)


def test_text_that_no_tokenizer_could_read_is_refused() -> None:
    with pytest.raises(CallParseError, match="lone surrogates"):
        parse_calls("f(x=1) \ud800", "python")


@pytest.mark.parametrize("name", FORMATS)
def test_the_example_is_what_the_format_writes(name: str) -> None:
    example = FORMATS[name].example
    (call,) = parse_calls(example, name)
    assert call.arguments == {"city": "Paris"}
    assert render_calls([call], name) == example


@pytest.mark.parametrize("name", FORMATS)
def test_a_cut_call_is_refused_or_read_whole(name: str) -> None:
    example = FORMATS[name].example
    read = []
    for end in range(len(example) + 1):
        try:
            read.append(parse_calls(example[:end], name))
        except CallParseError:
            continue
    whole = parse_calls(example, name)
    # There a call without arguments looks like the beginning of any other.
    bare = name in ("glm4_moe", "react")
    assert all(calls == whole or (bare and not calls[0].arguments) for calls in read)


def test_the_documentation_lists_every_format() -> None:
    rows = re.findall(r"^\| (`.*?) \|", _DOCUMENTATION.read_text("utf-8"), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == FORMATS.keys()
    starred = {name for row in rows if row.endswith("*") for name in re.findall(r"`(\w+)`", row)}
    assert starred == {name for name, form in FORMATS.items() if not form.typed}


def test_spans_point_at_the_call_without_shared_markers() -> None:
    text = 'Now\n[TOOL_CALLS] [{"name": "f", "arguments": {}}, {"arguments": {}, "name": "g"}]'
    assert [text[one.start : one.end] for one in find_calls(text, "mistral")] == [
        '{"name": "f", "arguments": {}}',
        '{"arguments": {}, "name": "g"}',
    ]
    request = "API-Request: [A(x='1'), B()]"
    assert [request[one.start : one.end] for one in find_calls(request, "api_bank")] == ["A(x='1')", "B()"]
    thought = 'Thought: x\nAction: f\nAction Input: {"a": 1}\n'
    assert [thought[one.start : one.end] for one in find_calls(thought, "react")] == [
        'Action: f\nAction Input: {"a": 1}'
    ]
