"""A call whose marks or keys are misspelt is an error or the call, never plain text; right text is never an error."""

from __future__ import annotations

import re

import pytest

from llamafactory_ext.errors import CallParseError
from llamafactory_ext.toolcalls import FORMATS, Tool, ToolCall, detect

pytestmark = pytest.mark.fast

WEATHER = Tool("get_weather", "Weather.", {"city": {"type": "string"}}, ["city"])
CALLS = ([ToolCall("get_weather", {"city": "Paris"})], [ToolCall("GetWeather", {"city": "Paris"})])
# A slip in these makes another call, which is returned, or another value.
_OWN = re.compile(r"get_weather|GetWeather|Paris|city")


def read(text: str, declared: tuple[Tool, ...] = (WEATHER,), form: str | None = None) -> list[ToolCall] | None:
    try:
        return [found.call for found in detect(text, declared, form)]
    except CallParseError:
        return None


def slips(example: str) -> list[str]:
    """The example with one letter of a mark or key left out, two of them swapped, or one doubled."""
    own = {place for found in _OWN.finditer(example) for place in range(found.start() - 1, found.end() + 1)}
    places = [at for at, sign in enumerate(example) if sign.isalpha() and at not in own]
    found = [example[:at] + example[at + 1 :] for at in places]
    found += [example[:at] + example[at] + example[at:] for at in places]
    found += [
        example[:at] + example[at + 1] + example[at] + example[at + 2 :]
        for at in places
        if at + 1 in places and example[at] != example[at + 1]
    ]
    return found


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("form", FORMATS)
def test_a_slip_in_a_mark_or_key_loses_no_call(form: str, known: bool) -> None:
    lost = [
        text for text in slips(FORMATS[form].example) if read(text, form=form if known else None) not in (None, *CALLS)
    ]
    assert lost == []


MISSPELT = [
    '{"nmae": "get_weather", "arguments": {"city": "Paris"}}',
    '{"name": "get_weather", "argumets": {"city": "Paris"}}',
    '{"Name": "get_weather", "Arguments": {"city": "Paris"}}',
    '{"name": "get_weather", "arg": {"city": "Paris"}}',
    '{"name": "get_weather", "city": "Paris"}',
    '{"tool": "get_weather", "arguments": {"city": "Paris"}}',
    '{"fn": "get_weather", "parameters": {"city": "Paris"}}',
    '{"tool_cals": [{"name": "get_weather", "arguments": {"city": "Paris"}}]}',
    '{"nmae": "get_weather", "arguments": {"city": "Par',
    '<tool_call>{"name": "get_weather", "argumets": {"city": "Paris"}}</tool_call>',
    '<tool_call>{"name": "get_weather", "city": "Paris"}</tool_call>',
    '<tool_call>{"name": "get_weather", "arguments": {}, "parameters": {"city": "Paris"}}</tool_call>',
    '<tool_cal>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>',
    '<toolcall>{"name": "get_weather", "arguments": {"city": "Paris"}}</toolcall>',
    '<tool_call{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>',
    "<functon=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>",
    '<invok name="get_weather"><parameter name="city">Paris</parameter></invoke>',
    '<|tool_call|>call:get_weather{city:<|"|>Paris<|"|>}<tool_call|>',
    'Action: get_weather\nAction Inputs: {"city": "Paris"}',
    'Acton: get_weather\nAction Input: {"city": "Paris"}',
    '[TOOL_CALL]get_weather[ARGS]{"city": "Paris"}',
    "<tool_call>get_weather\n> <arg_key>city</arg_key>\n> <arg_value>Paris</arg_value>\n> </tool_call>",
    "<seed:tool_call>\n> <function=get_weather>\n> <parameter=city>Paris</parameter>\n</function>\n</seed:tool_call>",
    "<tool_call>get_weather(city='Paris')</tool_call>",
    'get_weather {"city": "Paris"}',
    '{"recipient_name": "functions.get_weather", "parameters": {"city": "Paris"}}',
    '{"tool_uses": [{"recipient_name": "functions.get_weather", "parameters": {"city": "Paris"}}]}',
    '**get_weather**: {"city": "Paris"}',
    'Tool: get_weather\nInput: {"city": "Paris"}',
    '1. get_weather\n```json\n{"city": "Paris"}\n```',
    "get_weather('Paris')",
    "<think>so</think>[get_weather('Paris', days=3)]",
]


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("text", MISSPELT)
def test_misspelt_calls_are_errors(text: str, declared: bool) -> None:
    """Without declared tools, an object whose keys may as well be those of data is text."""
    found = read(text, (WEATHER,) if declared else ())
    assert found is None or (not declared and found in ([], CALLS[0]) and "<tool" not in text)


def test_the_message_names_what_was_meant() -> None:
    with pytest.raises(CallParseError, match='the key "argumets" of a call must be "arguments" or "parameters"'):
        detect(MISSPELT[1], [WEATHER])
    with pytest.raises(CallParseError, match=r"At character 1 .*<tool_call> was meant"):
        detect(MISSPELT[12], [WEATHER])


RIGHT = [
    '{"name": "Ann", "age": 31}',
    '{"name": "Ann", "parameter": {"height": 1.7}}',
    '{"game": "chess", "arguments": {"for": 2, "against": 1}}',
    '{"names": ["get_weather", "get_time"]}',
    '{"tool": "get_weather", "uses": 3}',
    '{"tool": "get_weather", "result": {"city": "Paris", "degrees": 21}}',
    '{"source": "get_weather", "place": {"city": "Paris"}}',
    '{"name": "get_weather", "description": "Weather of a city.", "parameters": {"type": "object", "properties": {}}}',
    '{"name": "get_weather", "status": "ok", "degrees": 21}',
    '[{"name": "Ann", "score": 1}, {"name": "Bob", "score": 2}]',
    '{"tool_call_count": 2, "tools": [{"title": "get_weather"}]}',
    '{"calls": 3}',
    'The arguments for get_weather are {"city": "Paris"}.',
    'get_weather: {"degrees": 21}',
    'get_weather: {"city": "Paris", "degrees": 21}',
    "get_weather('Paris') gave 21 degrees.",
    "Write\nget_weather('Paris')\nand wait.",
    "def get_weather(city='Paris'):\n    return 21",
    "class get_weather():\n    city = 'Paris'",
    "A call stands between <tool_call> and </tool_call>.",
    "The tag <seed:tool_call> (it opens) and </seed:tool_call> belong together.",
    "Use `<tool_call>`, not <tool_cal>, please.",
    "<p>Paris: 21 degrees</p>\n<ul><li>sun</li></ul>",
    '<config><function name="a"><parameter name="b">1</parameter></function></config>',
    '<template><div v-for="x in [1]">{{ x }}</div></template>',
    "The list [ACTION] {a: 1} is no mark, and neither is [TOOL] nor [CALLS].",
    "Result {x}: see [Note] and <b>bold</b> (city)</b>",
    "```tool\nhammer\n```",
    "```python\ntools[{'a': 1}]\n```",
    "Actions: {walk, run}",
    "Auction input: {none}",
    "Thought: I know it.\nFinal Answer: 21 degrees",
    "**Direct answer:** {sun}",
    "<|channel|>final<|message|>21 degrees<|return|>",
    "<|channel|>commentary<|message|>I will look it up.<|end|>",
    "`f(x)</code>` closes nothing, `items]</ul>` neither.",
]


@pytest.mark.parametrize("form", [None, "qwen", "mistral", "react", "json", "harmony", "python"])
@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("text", RIGHT)
def test_right_text_is_no_malformed_call(text: str, declared: bool, form: str | None) -> None:
    assert read(text, (WEATHER, Tool("get_time")) if declared else (), form) == []


def test_an_end_mark_too_many_breaks_no_call() -> None:
    written = '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>'
    for text in (f"{written}</tool_call>", f"{written}\n</tool_call>", written.removeprefix("<tool_call>")):
        assert read(text) == CALLS[0]
    # A known format begins with its mark.
    assert read(written.removeprefix("<tool_call>"), form="qwen") is None
