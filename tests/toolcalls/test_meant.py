"""What no format reads is an error where it means a call of a declared tool; all else is text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamafactory_ext.errors import CallParseError
from llamafactory_ext.toolcalls import Tool, ToolCall, detect

pytestmark = pytest.mark.fast

TOOLS = (
    Tool("get_weather", "Weather.", {"city": {"type": "string"}, "days": {"type": "integer"}}, ["city"]),
    Tool("get_time", "Time.", {"zone": {"type": "string"}}),
)
W = ToolCall("get_weather", {"city": "Paris"})
_JSON = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
_GIVEN = '{"city": "Paris"}'


def read(text: str, declared: tuple[Tool, ...] = TOOLS, form: str | None = None) -> list[ToolCall] | None:
    try:
        return [found.call for found in detect(text, declared, form)]
    except CallParseError:
        return None


MEANT = {
    "an element of the tool's name": "<get_weather><city>Paris</city></get_weather>",
    "an element, on lines": "I look.\n<get_weather>\n<city>Paris</city>\n<days>3</days>\n</get_weather>",
    "an element with JSON": f"<get_weather>{_GIVEN}</get_weather>",
    "an element with attributes": '<get_weather city="Paris" days="3"/>',
    "an empty element": "<get_time/>",
    "a named element": '<tool name="get_weather"><param name="city">Paris</param></tool>',
    "a named element with JSON": f'<function_call name="get_weather">{_GIVEN}</function_call>',
    "elements of name and arguments": f"<call><tool_name>get_weather</tool_name><input>{_GIVEN}</input></call>",
    "an element behind a thought": "<think>so</think>\n<get_weather><city>Paris</city></get_weather>",
    "an element behind a lone end of a thought": "so\n</think>\n<get_weather><city>Paris</city></get_weather>",
    "yaml": "name: get_weather\narguments:\n  city: Paris\n  days: 3",
    "yaml, arguments first": "arguments:\n  city: Paris\ntool: get_weather",
    "yaml, in a fence": "```yaml\nname: get_weather\narguments:\n  city: Paris\n```",
    "yaml, a list": "- name: get_weather\n  arguments:\n    city: Paris\n- name: get_time\n  args:\n    zone: CET",
    "yaml, the name as key": "get_weather:\n  city: Paris",
    "yaml, a value of lines": "get_weather:\n  city: |\n    Paris\n    France",
    "toml": '[get_weather]\ncity = "Paris"',
    "words of a shell": "get_weather --city Paris --days 3",
    "words of ruby": 'get_weather city: "Paris"',
    "pairs": "get_weather city=Paris days=3",
    "pairs in parentheses behind a bold name": '**get_weather**(city="Paris")',
    "a call in JavaScript": f"get_weather({_GIVEN})",
    "under calls": f'{{"calls": [{_JSON}]}}',
    "under call, beside a thought": f'{{"thought": "so", "call": {_JSON}}}',
    "under action": f'{{"action": {_JSON}, "done": false}}',
    "under two keys": f'{{"plan": {{"steps": [{_JSON}]}}}}',
    "under calls, other keys": f'{{"calls": [{{"tool": "get_weather", "args": {_GIVEN}}}]}}',
    "under command": f'{{"thoughts": {{"text": "so"}}, "command": {{"name": "get_weather", "args": {_GIVEN}}}}}',
    "under calls, the name as key": f'{{"calls": [{{"get_weather": {_GIVEN}}}]}}',
    "beside function": f'{{"function": {{"name": "get_weather"}}, "arguments": {_GIVEN}}}',
    "one key too many": f'{{"get_weather": {{"arguments": {_GIVEN}}}}}',
    "arguments as text under the name": json.dumps({"get_weather": _GIVEN}),
    "a list of name and arguments": f'["get_weather", {_GIVEN}]',
    "labels in Chinese": f"调用：get_weather\n参数：{_GIVEN}",
    "labels in Chinese, on one line": f"工具: get_weather {_GIVEN}",
    "labels in Russian": f"Действие: get_weather\nВходные данные действия: {_GIVEN}",
    "labels in Spanish": f"Acción: get_weather\nEntrada de la acción: {_GIVEN}",
    "labels in German": f"Aktion: get_weather\nAktionseingabe: {_GIVEN}",
    "labels in Japanese": f"ツール: get_weather\n引数: {_GIVEN}",
    "labels in Arabic": f"الأداة: get_weather\nالمدخلات: {_GIVEN}",
    "labels of a language, without JSON": "调用：get_weather\n参数：\n  city: Paris",
    "a name that ends a line of prose": f"I will call get_weather\n{_GIVEN}",
    "a slip in functions., harmony": f"<|channel|>commentary to=function.get_weather<|message|>{_GIVEN}<|call|>",
    "no dot behind functions, harmony": f"<|channel|>commentary to=functionsget_weather<|message|>{_GIVEN}<|call|>",
    "a slip in functions., Kimi": (
        f"<|tool_call_begin|>functons.get_weather:0<|tool_call_argument_begin|>{_GIVEN}<|tool_call_end|>"
    ),
}


@pytest.mark.parametrize("case", MEANT)
def test_a_call_in_no_format_is_an_error(case: str) -> None:
    assert read(MEANT[case]) is None


@pytest.mark.parametrize("case", MEANT)
def test_the_message_shows_the_place(case: str) -> None:
    with pytest.raises(CallParseError, match=r"At character \d+ \('.+'\): .+\."):
        detect(MEANT[case], TOOLS)


@pytest.mark.parametrize("case", MEANT)
def test_without_declared_tools_it_is_never_a_call_of_a_declared_tool_with_other_arguments(case: str) -> None:
    found = read(MEANT[case], ())
    assert found is None or all(call.name != "get_weather" or call == W for call in found)


@pytest.mark.parametrize("text", [f"I will call get_weather\n{_GIVEN}", f"Tool: get_weather\n{_GIVEN}"])
def test_glm4_reads_a_name_that_does_not_begin_its_line_as_an_error(text: str) -> None:
    assert read(text, form="glm4") is None
    assert read(f"get_weather\n{_GIVEN}", form="glm4") == [W]


RIGHT = {
    "prose that names a tool": "I asked get_weather: the city has 21 degrees.",
    "prose with arguments": f"The arguments for get_weather are {_GIVEN}.",
    "prose that explains arguments": f"Here are the arguments for get_weather:\n```json\n{_GIVEN}\n```",
    "a result in XML": "<get_weather><city>Paris</city><degrees>21</degrees></get_weather>",
    "a result of a tool in XML": '<result tool="get_weather"><city>Paris</city></result>',
    "a page": "<html><head><title>get_weather</title></head><body><city>Paris</city></body></html>",
    "an element in a sentence": "Write <get_weather><city>Paris</city></get_weather> to ask for it.",
    "a mark in a sentence": "The element <get_time/> asks for the time.",
    "a description of a tool": "get_weather:\n  city: string\n  days: integer",
    "a list of parameters": "get_weather\n- city: the city\n- days: for how many days",
    "parameters that are bold": "**get_weather**\n**city**: the city",
    "a heading": "# get_weather\n\nReturns the weather of a city.\n\ncity: the city",
    "a result on lines": "get_weather:\n  city: Paris\n  degrees: 21",
    "a required parameter is missing": "get_weather:\n  days: 3",
    "a tool and no arguments": "tool: get_weather",
    "arguments and no tool": "city: Paris\ndays: 3",
    "a line behind the arguments": "get_weather:\n  city: Paris\nThat is what I did.",
    "a trace": f'{{"steps": [{{"tool": "get_weather", "input": {_GIVEN}, "output": "21 degrees"}}]}}',
    "a definition inside JSON": (
        '{"tools": [{"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {}}}}]}'
    ),
    "a count by tools": '{"counts": {"get_weather": 2, "get_time": 1}}',
    "results by tools": '{"results": {"get_weather": {"degrees": 21}}}',
    "a person": '{"person": {"name": "Ann", "parameters": {"height": 1.7}}}',
    "a shell of other words": "get_weather prints the city and the days.",
    "a call of a program": "git commit --message get_weather",
}


@pytest.mark.parametrize("form", [None, "glm4", "qwen", "react", "json", "harmony", "python"])
@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("case", RIGHT)
def test_right_text_is_no_call(case: str, declared: bool, form: str | None) -> None:
    assert read(RIGHT[case], TOOLS if declared else (), form) == []


@pytest.mark.parametrize("before", ["# ", "#", "// ", "<!-- "])
def test_json_has_no_comments(before: str) -> None:
    """A sign of a comment hides code only: a heading, or a line of it, may begin with `#`."""
    assert read(f"{before}{_JSON}") == [W]
    assert read(f"{before}<tool_call>{_JSON}</tool_call>") == [W]
    assert read(f"{before}get_weather(city='Paris')") == []


_NAMES = st.from_regex(r"[a-z]{2,6}(_[a-z]{2,6}){0,2}", fullmatch=True)
_VALUES = st.one_of(st.integers(0, 99), st.from_regex(r"[A-Z][a-z]{2,8}", fullmatch=True))


@given(name=_NAMES, arguments=st.dictionaries(_NAMES, _VALUES, min_size=1, max_size=3), label=_NAMES)
def test_whatever_the_names(name: str, arguments: dict[str, int | str], label: str) -> None:
    tool = Tool(f"do_{name}", "", {key: {} for key in arguments}, list(arguments))
    given = json.dumps(arguments)
    inner = "".join(f"<{key}>{value}</{key}>" for key, value in arguments.items())
    pairs = "\n".join(f"  {key}: {value}" for key, value in arguments.items())
    texts = [
        f"<{tool.name}>{inner}</{tool.name}>",
        f'<tool name="{tool.name}">{given}</tool>',
        f"{tool.name}:\n{pairs}",
        f"{label}: {tool.name}\narguments:\n{pairs}",
        f"{tool.name} {' '.join(f'--{key} {value}' for key, value in arguments.items())}",
        f'{{"x_{label}": [{{"name": "{tool.name}", "arguments": {given}}}]}}',
        f"{label}: {tool.name}\n{label}: {given}",
        f"so I call {tool.name}\n{given}",
    ]
    for text in texts:
        assert read(text, (tool,)) is None, text
        assert read(text.replace(tool.name, f"no_{tool.name}"), (tool,)) != [ToolCall(tool.name, arguments)]
