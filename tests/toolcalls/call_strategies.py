"""Hypothesis strategies for calls and tools, ways to read calls back, and a comparison that tells 1 from 1.0."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from llamafactory_ext.errors import DataError
from llamafactory_ext.toolcalls import FORMATS, Tool, ToolCall, parse_calls, render_calls

# Texts that look like parts of the formats are what breaks careless parsers.
_HOSTILE_WORDS = r"""' " it's \ \n f(x=1) [x] ] } {} </tool_call> <tool_call> [TOOL_CALLS] Action: Call: <bot_end> ;"""
_HOSTILE = st.sampled_from(
    [
        *_HOSTILE_WORDS.split(),
        *("\n", "\r", "\0", "\u2028", " ", '"""', "), g(", "a, b", "é 漢 😀", "Action Input:", "\n    Args:"),
        *("\n    Returns:\n", "        deep", 'Extra: {"a": 1}', "Parameters: {}", "75001", "true", '"so"', " 3 "),
        *("</parameter>", "<parameter=x>", "</arg_value>", "<arg_key>", '<|"|>', "<|call|>", "</function>", "[ARGS]"),
    ]
)
TEXTS = st.one_of(st.text(max_size=12), _HOSTILE, st.lists(_HOSTILE, max_size=4).map("".join))
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
    st.integers(10**20),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=2)),
    max_leaves=5,
)
IDENTIFIERS = st.sampled_from(
    ("f", "get_weather", "GetUserToken", "math.area", "a.b.c", "_x1", "größe", "函数", "class")
)
_ANY_NAMES = st.one_of(IDENTIFIERS, IDENTIFIERS, TEXTS.filter(bool))
ARGUMENTS = st.dictionaries(st.one_of(st.sampled_from(("x", "from", "user_id", "n")), TEXTS), VALUES, max_size=4)
CALLS = st.lists(st.builds(ToolCall, _ANY_NAMES, ARGUMENTS), min_size=1, max_size=3)


def exact(call: ToolCall) -> str:
    """Name and arguments with types and order."""
    return repr((call.name, call.arguments))


def can_write(call: ToolCall, name: str) -> bool:
    """Tell whether a format holds the call."""
    try:
        return bool(render_calls([call], name))
    except DataError:
        return False


def declare(call: ToolCall) -> list[Tool]:
    """Declare a tool whose parameters have the types of the call's arguments."""
    kinds = {bool: "boolean", str: "string", int: "integer", float: "number", list: "array", dict: "object"}
    types = {key: kinds.get(type(value), "null") for key, value in call.arguments.items()}
    return [Tool(call.name, parameters={key: {"type": kind} for key, kind in types.items()})]


def read_again(calls: list[ToolCall], name: str) -> list[ToolCall]:
    """Write calls and read them; where a format writes no types, one by one with the tool declared."""
    if FORMATS[name].typed:
        return parse_calls(render_calls(calls, name), name)
    return [read for call in calls for read in parse_calls(render_calls([call], name), name, declare(call))]


_TYPES = st.sampled_from(("string", "integer", "number", "boolean", "array", "object", "null"))
_SCHEMAS = st.fixed_dictionaries(
    {},
    optional={
        "type": _TYPES,
        "description": TEXTS,
        "default": VALUES,
        "enum": st.lists(VALUES, max_size=2),
        "items": st.fixed_dictionaries({}, optional={"type": _TYPES, "description": TEXTS}),
        "x-type": st.sampled_from(("tuple", "any", "list(str)", "float", "str")),
    },
)


@st.composite
def tools(draw: st.DrawFn) -> Tool:
    parameters = draw(st.dictionaries(st.one_of(st.sampled_from(("x", "code:", "p=False", "type")), TEXTS), _SCHEMAS))
    required = draw(st.lists(st.sampled_from([*parameters, "undeclared"]), unique=True))
    extra = draw(st.dictionaries(st.sampled_from(("response", "output_parameters", "Output", "strict")), VALUES))
    return Tool(draw(IDENTIFIERS), draw(TEXTS), parameters, required, extra)
