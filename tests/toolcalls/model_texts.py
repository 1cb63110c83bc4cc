"""Texts as models write them, each with the calls that a reader must find; None where the text must be refused.

Written for these tests after the kinds of faults that users reported: loose JSON, marks of other models, drafts in
thoughts, prose around calls, invented tool outputs.
"""

from __future__ import annotations

from collections.abc import Iterator

from llamafactory_ext.toolcalls import FORMATS, Tool, ToolCall, render_calls
from toolcalls import odd_texts
from toolcalls.odd_texts import WRITTEN_T, WRITTEN_W, Calls, T, W

TOOLS = (
    Tool("get_weather", "Weather.", {"city": {"type": "string"}, "days": {"type": "integer"}}, ["city"]),
    Tool("get_time", "Time.", {"city": {"type": "string"}}, ["city"]),
    Tool("Market Trends API", "Trends.", {"trend": {"type": "string"}}),
)
_W, _T = WRITTEN_W, WRITTEN_T


def weather(**more: object) -> Calls:
    return (ToolCall("get_weather", {"city": "Paris", **more}),)  # type: ignore[dict-item]


TEXTS: dict[str, tuple[str, Calls | None]] = {
    "json": (_W, (W,)),
    "json, parameters": ('{"name": "get_weather", "parameters": {"city": "Paris"}}', (W,)),
    "json, arguments as text": (
        '{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}',
        (W,),
    ),
    "json, arguments twice as text": (
        '{"name": "get_weather", "arguments": "\\"{\\\\\\"city\\\\\\": \\\\\\"Paris\\\\\\"}\\""}',
        (W,),
    ),
    "json, single quotes": ("{'name': 'get_weather', 'arguments': {'city': 'Paris'}}", (W,)),
    "json, a comma too many": ('{"name": "get_weather", "arguments": {"city": "Paris",}}', (W,)),
    "json, Python's words": (
        '{"name": "get_weather", "arguments": {"city": "Paris", "fresh": True, "zip": None}}',
        weather(fresh=True, zip=None),
    ),
    "json, a comment": ('{"name": "get_weather", /* the tool */ "arguments": {"city": "Paris"}}', (W,)),
    "json, a key twice": ('{"name": "get_weather", "arguments": {"city": "Rome", "city": "Paris"}}', (W,)),
    "json, NaN": ('{"name": "get_weather", "arguments": {"city": "Paris", "days": NaN}}', None),
    "json, infinity": ('{"name": "get_weather", "arguments": {"city": "Paris", "days": 1e400}}', None),
    "json, cut off": ('{"name": "get_weather", "arguments": {"city": "Par', None),
    "json, a list": (f"[{_W}, {_T}]", (W, T)),
    "json, a list with a bad one": (f'[{{"name": "get_weather", "arguments": {{"city": }}}}, {_T}]', None),
    "json, null arguments": ('{"name": "get_weather", "arguments": null}', (ToolCall("get_weather"),)),
    "json, empty arguments": ('{"name": "get_weather", "arguments": ""}', (ToolCall("get_weather"),)),
    "json, no arguments": ('{"name": "get_weather"}', (ToolCall("get_weather"),)),
    "json in a fence": (f"```json\n{_W}\n```", (W,)),
    "json after prose": (f"I will look it up now:\n{_W}", (W,)),
    "json before prose": (f"{_W}\nI will wait for the result.", (W,)),
    "json, a name in a value": (
        '{"name": "get_weather", "arguments": {"city": "get_time(city=1)"}}',
        (ToolCall("get_weather", {"city": "get_time(city=1)"}),),
    ),
    "json, a tag in a value": (
        '{"name": "get_weather", "arguments": {"city": "<tool_call> </think> [TOOL_CALLS]"}}',
        (ToolCall("get_weather", {"city": "<tool_call> </think> [TOOL_CALLS]"}),),
    ),
    "json, wrapped": (f'{{"type": "function", "id": "c1", "function": {_W}}}', (W,)),
    "tags": (f"<tool_call>\n{_W}\n</tool_call>", (W,)),
    "tags, two": (f"<tool_call>\n{_W}\n</tool_call>\n<tool_call>\n{_T}\n</tool_call>", (W, T)),
    "tags, the first malformed": (f"<tool_call>\n{{bad}}\n</tool_call>\n<tool_call>\n{_T}\n</tool_call>", None),
    "tags, the second malformed": (f"<tool_call>\n{_W}\n</tool_call>\n<tool_call>\n{{bad}}\n</tool_call>", None),
    "tags, a list": (f"<tool_call>\n[{_W}, {_T}]\n</tool_call>", (W, T)),
    "tags, never closed": (f"<tool_call>\n{_W}", (W,)),
    "tags, single quotes": (
        "<tool_call>\n{'name': 'get_weather', 'arguments': {'city': 'Paris'}}\n</tool_call>",
        (W,),
    ),
    "tags, a tag in a value": (
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "a </tool_call> b"}}\n</tool_call>',
        (ToolCall("get_weather", {"city": "a </tool_call> b"}),),
    ),
    "tags, an undeclared tool": ('<tool_call>{"name": "sun", "arguments": {}}</tool_call>', (ToolCall("sun"),)),
    "tags, then prose that names a tool": (f"<tool_call>{_W}</tool_call>\nThis runs get_time(city='Rome').", (W,)),
    "scratch pad": (f"<scratch_pad>\n- get_time(city='Rome')\n</scratch_pad>\n<tool_call>\n{_W}\n</tool_call>", (W,)),
    "a draft in a thought": (
        f"<think>\n<tool_call>\n{_T}\n</tool_call>?\n</think>\n<tool_call>\n{_W}\n</tool_call>",
        (W,),
    ),
    "a thought and nothing else": (f"<think>\nMaybe {_T}", ()),
    "a thought opened by the template": (f"Maybe {_T} first.\n</think>\n\n{_W}", (W,)),
    "a broken draft opened by the template": (f"Maybe <tool_call>{{x\n</think>\n<tool_call>{_W}</tool_call>", (W,)),
    "prose that looks like a call": (f"I think get_time(city='Rome') is wrong. {_W}", (W,)),
    "code, then a request": ("use print(x=1) then [get_weather(city='Paris')]", (W,)),
    "an invented output": (f"{_W}\n<tool_response>\n{{}}\n</tool_response>\n{_T}", (W,)),
    "mistral": (f"[TOOL_CALLS] [{_W}]", (W,)),
    "mistral with ids": (f'[TOOL_CALLS][{_W[:-1]}, "id": "abcdefghi"}}]', (W,)),
    "granite": (f"<|tool_call|>[{_W}]", (W,)),
    "phi4": (f"functools[{_W}]", (W,)),
    "minimax m1": (f"<tool_calls>\n{_W}\n</tool_calls>", (W,)),
    "internlm2": (
        '<|action_start|><|plugin|>\n{"name": "get_weather", "parameters": {"city": "Paris"}}<|action_end|>',
        (W,),
    ),
    "react": ('Thought: look\nAction: get_weather\nAction Input: {"city": "Paris"}', (W,)),
    "react, single quotes": ("Action: get_weather\nAction Input: {'city': 'Paris'}", (W,)),
    "react, a fence": ('Action: get_weather\nAction Input: ```json\n{"city": "Paris"}\n```', (W,)),
    "react, no input": ("Action: get_weather\nAction Input: ", (ToolCall("get_weather"),)),
    "react, None": ("Action: get_weather\nAction Input: None", (ToolCall("get_weather"),)),
    "react, an invented observation": (
        'Action: get_weather\nAction Input: {"city": "Paris"}\nObservation: sun\nThought: more\n'
        'Action: get_time\nAction Input: {"city": "Rome"}',
        (W,),
    ),
    "react, a call in the thought": (
        'Thought: get_time(city=\'Rome\')?\nAction: get_weather\nAction Input: {"city": "Paris"}',
        (W,),
    ),
    "python": ("get_weather(city='Paris')", (W,)),
    "python, two lines": ("get_weather(city='Paris')\nget_time(city='Rome')", (W, T)),
    "python, a list": ("[get_weather(city='Paris'), get_time(city='Rome')]", (W, T)),
    "python in a fence": ('```tool_code\nget_weather(city="Paris")\n```', (W,)),
    "python, Llama 4's marks": ('<|python_start|>[get_weather(city="Paris")]<|python_end|>', (W,)),
    "python, a name with blanks": (
        "[Market Trends API(trend='up')]",
        (ToolCall("Market Trends API", {"trend": "up"}),),
    ),
    "python, an apostrophe": (
        "[get_weather(city='Val d'Isere')]",
        (ToolCall("get_weather", {"city": "Val d'Isere"}),),
    ),
    "python, not closed": ("get_weather(city='Paris'", None),
    "api_bank": ("API-Request: [get_weather(city='Paris')]", (W,)),
    "api_bank, no quotes": ("API-Request: [get_weather(city=Paris)]", (W,)),
    "nexusraven": ("Call: get_weather(city='Paris')<bot_end> \nThought: done", (W,)),
    "glm4": ('get_weather\n{"city": "Paris"}', (W,)),
    "an answer": ("It is 21 degrees in Paris (I am sure).", ()),
    "an answer with code": ("Write `print(1)`, or {'a': 1}, or model.fit(x=data).", ()),
    "an answer with data": ('{"name": "Paris", "population": 2100000, "sights": ["Louvre"]}', ()),
    "an answer about tags": ("The <tool_call> tag opens a call.", ()),
    "nothing": ("", ()),
    "a marked call that is malformed after a plain one": (
        f'{_W}\n<tool_call>{{"name": "get_time", "arguments": {{"city": }}}}</tool_call>',
        None,
    ),
    "a fault in prose before a good call": (f"<tool_call> marks what I call.\n<tool_call>{_W}</tool_call>", (W,)),
    "json, arguments under another key": ('{"name": "get_weather", "args": {"city": "Paris"}}', None),
    "json, a definition quoted": (
        '{"name": "get_weather", "description": "Weather.", '
        '"parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}',
        (),
    ),
    "python, a leading zero": ("get_weather(city='Paris', days=007)", None),
    "api_bank, a leading zero": (
        "API-Request: [get_weather(city=Paris, days=007)]",
        (ToolCall("get_weather", {"city": "Paris", "days": "007"}),),
    ),
    "tagged, Windows line ends": (f"<tool_call>\r\n{_W}\r\n</tool_call>\r\n", (W,)),
    "react, a name in backticks": ('Action: `get_weather`\nAction Input: {"city": "Paris"}', (W,)),
    "react, a name with parentheses": ('Action: get_weather()\nAction Input: {"city": "Paris"}', (W,)),
    "glm4, a byte order mark": ('\ufeffget_weather\n{"city": "Paris"}', (W,)),
    "thought in capitals": (f'<THINK>get_time(city="Rome")</THINK>{_W}', (W,)),
    "the mark of thoughts in prose": (f"I would write <think> first.\n{_W}", (W,)),
    "the end of thoughts in prose": (f"{_W}\nThe mark </think> ends a thought.", (W,)),
    "a numbered list of calls": (f"1. {_W}\n2. {_T}", (W, T)),
    "fences around each call": (f"```json\n{_W}\n```\n```json\n{_T}\n```", (W, T)),
    "a list of calls with dashes": ("- get_weather(city='Paris')\n- get_time(city='Rome')", (W, T)),
    "an end token between": (f"{_W}<|im_end|>\n{_T}<|im_end|>", (W, T)),
    "code in prose after calls": (f"{_W}\nThis is like get_time(city='Oslo') but safer.", (W,)),
    **odd_texts.TEXTS,
}
for _form in FORMATS:
    TEXTS[f"{_form}, one"] = (render_calls([W], _form), (W,))
    if _form != "glm4_single":
        TEXTS[f"{_form}, two"] = (render_calls([W, T], _form), (W, T))

_AROUND = {
    "alone": "{}",
    "after a thought": '<think>\nget_time(city=\'Rome\') or <tool_call>{{"name": "x"}}</tool_call>?\n</think>\n\n{}',
    "after an opened thought": "I could use get_time(city='Rome').\n</think>\n\n{}",
}
# What a thought before it would change: the text itself is about thoughts.
_ALONE = ("a thought and nothing else", "the mark of thoughts in prose", "the end of thoughts in prose")


def all_texts() -> Iterator[tuple[str, str, Calls | None]]:
    """(what it is, text, calls): every text alone and after thoughts of both kinds."""
    for name, (text, calls) in TEXTS.items():
        for around, pattern in _AROUND.items():
            if around == "alone" or name not in _ALONE:
                yield f"{name}, {around}", pattern.format(text), calls
