"""Odder texts, each with its calls; None where the text must be refused.

Other keys and quotes, calls of undeclared tools that are malformed, calls that are cut, marks of thoughts and of
invented outputs in other words.
"""

from __future__ import annotations

from llamafactory_ext.toolcalls import ToolCall

Calls = tuple[ToolCall, ...]
W = ToolCall("get_weather", {"city": "Paris"})
T = ToolCall("get_time", {"city": "Rome"})
WRITTEN_W = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
WRITTEN_T = '{"name": "get_time", "arguments": {"city": "Rome"}}'
_W, _T = f"<tool_call>{WRITTEN_W}</tool_call>", f"<tool_call>{WRITTEN_T}</tool_call>"
_XML = "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n"
_GLM = "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>"

TEXTS: dict[str, tuple[str, Calls | None]] = {
    "the name as key": ('{"get_weather": {"city": "Paris"}}', (W,)),
    "names as keys": ('{"get_weather": {"city": "Paris"}, "get_time": {"city": "Rome"}}', (W, T)),
    "names as keys, a list": ('[{"get_weather": {"city": "Paris"}}, {"get_time": {"city": "Rome"}}]', (W, T)),
    "the name as key, in tags": ('<tool_call>{"get_weather": {"city": "Paris"}}</tool_call>', (W,)),
    "a tool's name as a key of data": ('{"get_weather": {"degrees": 21}}', ()),
    "a tool's name as one key of several": ('{"get_weather": {"city": "Paris"}, "other": 1}', ()),
    "keys without quotes": ('{name: "get_weather", arguments: {city: "Paris"}}', (W,)),
    "keys without quotes, in tags": ('<tool_call>{name: "get_weather", arguments: {city: "Paris"}}</tool_call>', (W,)),
    "keys without quotes, react": ('Action: get_weather\nAction Input: {city: "Paris"}', (W,)),
    "keys without quotes, glm4": ('get_weather\n{city: "Paris"}', (W,)),
    "values without quotes": ("{name: get_weather, arguments: {city: Paris}}", None),
    "typographic quotes": ("{“name”: “get_weather”, “arguments”: {“city”: “Paris”}}", None),
    "wide colons": ('{"name"："get_weather"，"arguments"：{"city"："Paris"}}', None),
    "the name under tool": ('{"tool": "get_weather", "arguments": {"city": "Paris"}}', None),
    "the name under tool_name": ('{"tool_name": "get_weather", "parameters": {"city": "Paris"}}', None),
    "the name under action": ('{"action": "get_weather", "action_input": {"city": "Paris"}}', None),
    "the name under function": ('{"function": "get_weather", "arguments": {"city": "Paris"}}', None),
    "a tool's name as a value of data": ('{"tool": "get_weather", "uses": 3}', ()),
    "tool_calls, one object": (f'{{"tool_calls": {WRITTEN_W}}}', (W,)),
    "tool_calls, a text": ('{"tool_calls": "get_weather"}', None),
    "a list that is not closed": (f"[{WRITTEN_W}", None),
    "react, bold": ('**Action:** get_weather\n**Action Input:** {"city": "Paris"}', (W,)),
    "react, numbered": ('Action 1: get_weather\nAction Input 1: {"city": "Paris"}', (W,)),
    "react, small letters": ('action: get_weather\naction input: {"city": "Paris"}', (W,)),
    "react, a blank before the colon": ('Action : get_weather\nAction Input : {"city": "Paris"}', (W,)),
    "react, named in prose": ("Write an Action: the tool, then its Action Input: as JSON.", ()),
    "react, an action in prose": ("My action: use get_weather again. Action items: get_weather, then get_time.", ()),
    "react, an action that was": ("Action: get_weather was called twice, see above.", ()),
    "react, no input": ("Thought: so\nAction: get_weather", None),
    "react, python behind the label": ("Action: get_weather(city='Paris')", (W,)),
    "an object of a program": ("const tool = {name: get_weather, version: 1};", ()),
    "a record of a log": ('{"function": "get_weather", "params": 3, "seconds": 1.2}', ()),
    "an answer after calls": (f"{_W}\nResult: I asked for the weather.", (W,)),
    "a sentence that begins with a tool": ("get_weather(city='Paris')\nget_time is not needed.", (W,)),
    "xml, cut after an argument": (_XML, None),
    "xml, only the outer tag is missing": (f"{_XML}</function>", (W,)),
    "xml, the turn ended without a closing tag": (f"{_XML}<|im_end|>", (W,)),
    "glm, cut after an argument": (f"{_GLM}\n", None),
    "glm, LLaMA-Factory's way": (_GLM, (W,)),
    "glm, cut in the second call": (f"{_GLM}\n</tool_call>\n{_GLM}", None),
    "glm, cut in the name": ("<tool_call>get_we", None),
    "glm, cut after the name": ("<tool_call>get_weather", None),
    "seed, cut in the outer tag": (
        "<seed:tool_call>\n<function=get_weather>\n<parameter=city>Paris</parameter>\n</function>\n</seed:tool",
        None,
    ),
    "tags, cut after an opening": (f"{_W}\n<tool_call>\n", None),
    "tags, cut in an opening": (f"{_W}\n<tool_c", None),
    "python, the second cut": ("get_weather(city='Paris')\nget_time(city", None),
    "python, the second without names": ("[get_weather(city='Paris'), get_time('Rome')]", None),
    "python, the first without names": ("[get_weather('Paris'), get_time(city='Rome')]", None),
    "an unknown tool, malformed in tags": ('<tool_call>{"name": "other", "arguments": {"a": }}</tool_call>', None),
    "an unknown tool, malformed list": ('[TOOL_CALLS] [{"name": "other", "arguments": {"a": }}]', None),
    "an unknown tool, malformed react": ('Thought: so\nAction: other\nAction Input: {"a": }', None),
    "an unknown tool, malformed functools": ('functools[{"name": "other", "arguments": {"a": }}]', None),
    "an unknown tool, malformed invoke": ('<invoke name="other"><parameter name="x">1', None),
    "an unknown tool, malformed function": ('<function=other>{"a": }</function>', None),
    "call as a word of prose": (f"**Reasoning:** so\n\n**Call:** {WRITTEN_W}", (W,)),
    "blanks without room between": (f"{_W}\u200b\ufeff{_T}", (W, T)),
    "an output in Chinese": (f"{_W}\n观察：晴\n{_T}", (W,)),
    "an output with a wide colon": (f"{_W}\nObservation：sun\n{_T}", (W,)),
    "an output in Russian": (f"{_W}\nРезультат: 21\n{_T}", (W,)),
    "an output in French": (f"{_W}\nRésultat : 21\n{_T}", (W,)),
    "an output in a fence": (f"{_W}\n```output\n21\n```\n{_T}", (W,)),
    "an output in brackets": (f"{_W}\n[Tool Result]\n21\n{_T}", (W,)),
    "an output behind an arrow": ("[get_weather(city='Paris')]->{'a': 1}\n[get_time(city='Rome')]", (W,)),
    "a thought of another name": (f"<inner_monologue>{_T}</inner_monologue>{_W}", (W,)),
    "a thought between bars": (f"<|begin_of_thought|>{_T}<|end_of_thought|>{_W}", (W,)),
    "a draft in Qwen3-Coder's tags": (f"<think>{_XML}</function></tool_call></think>{_T}", (T,)),
    "a draft in Kimi's marks": (
        '<think><|tool_call_begin|>functions.get_time:0<|tool_call_argument_begin|>{"city": "Rome"}<|tool_call_end|>'
        f"</think>{_W}",
        (W,),
    ),
    "negative zero": (
        '{"name": "get_weather", "arguments": {"city": "Paris", "days": -0.0}}',
        (ToolCall("get_weather", {"city": "Paris", "days": -0.0}),),
    ),
    "a number with an exponent": (
        '{"name": "get_weather", "arguments": {"city": "Paris", "days": 1e5}}',
        (ToolCall("get_weather", {"city": "Paris", "days": 100000}),),
    ),
    "a huge number": (
        f'{{"name": "get_weather", "arguments": {{"city": "Paris", "days": {10**30}}}}}',
        (ToolCall("get_weather", {"city": "Paris", "days": 10**30}),),
    ),
    "a name without characters": ('<tool_call>{"name": "", "arguments": {}}</tool_call>', None),
    "a number with a leading zero": ('{"name": "get_weather", "arguments": {"days": 007}}', None),
    "an apostrophe escaped": ('{"name": "get_weather", "arguments": {"city": "Val d\\\'Isere"}}', None),
    "react, none in small letters": ("Action: get_time\nAction Input: none", (ToolCall("get_time"),)),
    "a method of a call's result": ("get_weather(city='Paris').then()", (W,)),
    "a method of a call in a list": ("[get_weather(city='Paris')].copy()", (W,)),
    "a method of a text": ("', '.join()", ()),
    "null between tags": ("<tool_call>null</tool_call>", None),
    "None between tags": ("<tool_call>\nNone\n</tool_call>", None),
    "a number for a name": ('{"name": 3, "arguments": {"city": "Paris"}}', None),
    "a list for a name": ('{"name": ["get_weather"], "arguments": {"city": "Paris"}}', None),
    "no name and arguments": ('{"name": null, "arguments": null}', ()),
    "an object for a name": ('{"name": {"first": "Ann"}, "arguments": {"for": "tea"}}', ()),
    "inner thoughts": (f"<inner_thoughts>{_T}</inner_thoughts>It is 21.", ()),
    "self-reflection": (f"<self_reflection>{_T}</self_reflection>{_W}", (W,)),
    "a chain of thought": (f"<cot>{_T}</cot>It is 21.", ()),
}
