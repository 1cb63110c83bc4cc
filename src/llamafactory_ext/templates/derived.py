"""Jinja for how a template writes tools and calls, found by writing a few probes and looking at what comes out.

A writer is a Python function from tools or calls to text. What stands around the probes becomes literals, how the
probes themselves are written is tried out. What is found is rendered and compared with the writer on further probes:
a way of writing that is not understood gives None, never a wrong template.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

from .jinja import joined, literal, render
from .jinja_tools import WRITERS, macros_of, tool_statements

WriteTools = Callable[[list[dict[str, Any]]], str]
WriteCalls = Callable[[list[tuple[str, dict[str, Any]]]], str]

STATE: Final = (
    "{%- set state = namespace(system='', turns=messages, tools=[], function={}, members={}, tool_text='', "
    "before='', calls='', results=[], prompt='', kept=[], open='') -%}\n"
)
_NAME, _NAMES, _DATE = "\x01", "\x02", "\x03"


def _probe(mark: str, about: str, properties: dict[str, dict[str, Any]]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties)[:1]}
    return {"name": f"zq{mark}", "description": about, "parameters": schema}


_PLAIN = [_probe(mark, f"Does {mark}.", {f"p{mark}": {"type": "string"}}) for mark in ("x1", "y2", "z3")]
_CITY = {"type": "string", "description": "Where. It's.", "enum": ["a", "b"]}
_MANY = {"type": "array", "items": {"type": "number"}, "description": "a\nb"}
_RICH = [
    _probe("a", 'Says "hé".\nTwice. 日本', {"city": _CITY, "plain": {"type": "string", "description": "x"}}),
    _probe("b", "Counts.", {"n": {"type": "integer"}, "many": _MANY}),
    _probe("c", "Nothing.", {}),
]
_LONE = [_RICH[2]], [_RICH[0]], [_RICH[1]]


def tool_source(write: WriteTools, *, ordered: bool, date: str = "") -> str | None:
    """Return macros and statements that put the text that presents `tools` into `state.tool_text`.

    Args:
        write: the text for bare function objects.
        ordered: as `tool_statements` takes it.
        date: a date that `write` writes wherever it writes the day; it becomes the variable `date`.
    """
    for writer in WRITERS:
        source = _tools_by(writer, write, ordered=ordered, date=date)
        if source is not None:
            return source
    return None


def _tools_by(writer: str, write: WriteTools, *, ordered: bool, date: str) -> str | None:
    around = _around(write(_PLAIN), _pieces(writer))
    if around is None:
        return None
    names = ", ".join(tool["name"] for tool in _PLAIN)
    marked = []
    for text, following in zip(around, [*_PLAIN, None], strict=True):
        general = text.replace(names, _NAMES).replace(date or "\0", _DATE)
        marked.append(general.replace(following["name"], _NAME) if following else general)
    first, *between, last = marked
    if len(set(between)) != 1:
        return None
    opening = f"({_expression(first)} if loop.first else {_expression(between[0])})"
    source = (
        f"{macros_of(writer)}{tool_statements(ordered=ordered)}"
        "{%- set names = state.tools | map(attribute='function') | map(attribute='name') | join(', ') -%}\n"
        "{%- for tool in state.tools -%}{%- set fn = tool['function'] -%}\n"
        f"{{%- set state.tool_text = state.tool_text ~ {opening} ~ ({writer}) -%}}\n"
        f"{{%- if loop.last -%}}{{%- set state.tool_text = state.tool_text ~ {_expression(last)} -%}}{{%- endif -%}}\n"
        "{%- endfor -%}\n"
    )
    check = f"{STATE}{{%- set messages = [] -%}}{source}{{{{- state.tool_text -}}}}"
    for probes in (_PLAIN, *_LONE, _RICH):
        if render(check, tools=probes, messages=[], date=date) != write(probes):
            return None
    return source


@cache
def _pieces(writer: str) -> list[str]:
    """Return the plain probes, each as the writer writes it."""
    source = f"{macros_of(writer)}{{{{- {writer} -}}}}"
    return [render(source, fn=tool, tool={"type": "function", "function": tool}) for tool in _PLAIN]


def _expression(marked: str) -> str:
    """Return the Jinja expression of a text with marks in it."""
    variables = {_NAME: "fn['name']", _NAMES: "names", _DATE: "date"}
    parts, start = [], 0
    for place, character in enumerate(marked):
        if character in variables:
            parts += [literal(marked[start:place]), variables[character]]
            start = place + 1
    return f"({joined(*parts, literal(marked[start:]))})"


def _around(text: str, pieces: Sequence[str]) -> list[str] | None:
    """Return what stands before, between and after the pieces; None where they do not stand in the text in order."""
    found, start = [], 0
    for piece in pieces:
        place = text.find(piece, start)
        if place < 0:
            return None
        found.append(text[start:place])
        start = place + len(piece)
    return [*found, text[start:]]


_CALL_PROBES: Final[tuple[list[tuple[str, dict[str, Any]]], ...]] = (
    [("zqa", {})],
    [("zqb", {"city": 'O\'Fallon, "MO" é\n日本', "n": -3, "x": 1.5, "on": True, "none": None})],
    [("zqc", {"list": [1, {"a": "b"}], "text": "x"})],
    [("zqd", {}), ("zqe", {"p": {"q": "r"}}), ("zqf", {"s": "t"})],
    [("zqg", {"s": "t"}), ("zqh", {}), ("zqi", {"n": 1})],
)


def call_source(write: WriteCalls) -> str | None:
    """Return statements that put the text of `message['tool_calls']` into `state.calls`."""
    for find in (_json_calls, _plain_arguments, _python_arguments):
        try:
            body = find(write)
        except ValueError:  # the writer refuses a probe
            continue
        source = body and _CALLS.format(body=body)
        if source and all(_writes_alike(source, write, probe) for probe in _CALL_PROBES):
            return source
    return None


_CALLS = """\
{{%- set state.calls = '' -%}}
{{%- for given in message['tool_calls'] or [] -%}}
{{%- set call = given['function'] if 'function' in given else given -%}}
{{%- set arguments = call['arguments'] | default({{}}, true) -%}}
{{%- set many = loop.length > 1 -%}}
{body}\
{{%- endfor -%}}
"""


def _writes_alike(source: str, write: WriteCalls, calls: list[tuple[str, dict[str, Any]]]) -> bool:
    """Return whether Jinja and writer agree, where the writer can write the calls at all."""
    try:
        expected = write(calls)
    except ValueError:
        return True
    message = {"tool_calls": [{"function": {"name": name, "arguments": given}} for name, given in calls]}
    return render(f"{STATE}{source}{{{{- state.calls -}}}}", message=message, messages=[]) == expected


def _json_calls(write: WriteCalls) -> str | None:
    """Write a call as a name and, further on, its arguments as JSON."""
    probes = [(name, {f"k{name}": f"v{name}"}) for name in ("zqx1", "zqy2", "zqz3")]
    pieces = [piece for name, given in probes for piece in (name, json.dumps(given))]
    alone = _around(write(probes[:1]), pieces[:2])
    if alone is None:
        return None
    before, inside, after = map(literal, alone)
    argument = "(arguments if arguments is string else arguments | tojson)"
    try:
        several = _around(write(probes), pieces)
    except ValueError:  # one call at a time
        refusal = "{%- if many -%}{{- raise_exception('This format holds one call in a turn.') -}}{%- endif -%}\n"
        return refusal + _append(f"{before} ~ call['name'] ~ {inside} ~ {argument} ~ {after}")
    if several is None or len({several[1], several[3], several[5], alone[1]}) != 1 or several[2] != several[4]:
        return None
    start = f"({literal(several[0])} if loop.first and many else {before} if loop.first else {literal(several[2])})"
    end = f"('' if not loop.last else {literal(several[6])} if many else {after})"
    return _append(f"{start} ~ call['name'] ~ {inside} ~ {argument} ~ {end}")


def _append(expression: str) -> str:
    return f"{{%- set state.calls = state.calls ~ {expression} -%}}\n"


def _plain_arguments(write: WriteCalls) -> str | None:
    """Write a call as a name and, one by one, arguments: texts as they are, everything else as JSON."""
    return _framed_arguments(write, str, "(value if value is string else value | tojson)", "")


def _python_arguments(write: WriteCalls) -> str | None:
    """Write a call as a name and, one by one, arguments as Python literals; names that are none as `**{...}`."""
    spread = _append("'**' ~ ('%r' | format({key: value}))")
    odd = f"{{%- if not (key | replace('_', 'a')).isalnum() or key[0].isdigit() -%}}{spread}{{%- else -%}}"
    return _framed_arguments(write, repr, "('%r' | format(value))", odd)


def _framed_arguments(write: WriteCalls, spell: Callable[[object], str], value: str, odd: str) -> str | None:
    text, number, other = "zvtext", 7131, 8242
    first, second = ("zqx1", {"zka": text, "zkb": number, "zkc": other, "zkd": text}), ("zqy2", {"zke": number})
    spelled = [spell(text), spell(number), spell(other), spell(text), spell(number)]
    keys = ["zka", "zkb", "zkc", "zkd", "zke"]
    pairs = [piece for pair in zip(keys, spelled, strict=True) for piece in pair]
    whole = _around(write([first, second]), ["zqx1", *pairs[:8], "zqy2", *pairs[8:]])
    turned = _around(write([second, first]), ["zqy2", *pairs[8:], "zqx1", *pairs[:8]])
    empty = _around(write([("zqx1", {}), ("zqy2", {})]), ["zqx1", "zqy2"])
    if whole is None or turned is None or empty is None:
        return None
    opening, to_text, to_number = whole[1], whole[2], whole[4]
    after_text, after_number = whole[3], whole[5]
    between = f"({literal(to_text)} if value is string else {literal(to_number)})"
    frames = f"{odd}{_append(f'key ~ {between} ~ {value}')}{'{%- endif -%}' if odd else ''}\n"
    following = f"({literal(after_text)} if value is string else {literal(after_number)})"
    text_end = f"({literal(turned[-1])} if last_call else {literal(whole[9])})"
    number_end = f"({literal(whole[-1])} if last_call else {literal(turned[3])})"
    ends = f"({text_end} if value is string else {number_end})"
    bare = f"({literal(empty[2])} if last_call else {literal(empty[1])})"
    return (
        "{%- if arguments is string -%}{{- raise_exception('Give arguments of calls as objects.') -}}{%- endif -%}\n"
        "{%- set last_call = loop.last -%}\n"
        + _append(f"({literal(whole[0])} if loop.first else '') ~ call['name']")
        + f"{{%- if arguments -%}}{_append(literal(opening))}"
        + f"{{%- else -%}}{_append(bare)}{{%- endif -%}}\n"
        + "{%- for key, value in arguments | items -%}\n"
        + frames
        + _append(f"({ends} if loop.last else {following})")
        + "{%- endfor -%}\n"
    )
