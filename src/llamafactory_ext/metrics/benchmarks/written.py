"""Calls as a model wrote them, whether or not they can be read: what a judge is shown of a dialogue.

ToolAlpaca's agent hands the judge the name and the raw text of the arguments. So does this: arguments that are no JSON
keep their text, and a call that no format reads is cut where its name stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ...errors import CallParseError
from ...toolcalls.feedback.parts import content_text
from ..answers import message_calls

# As ToolAlpaca's agent reads a turn: the first action, and all behind the first input.
_ACTION = re.compile(r"Action\s*\d*\s*:")
_INPUT = re.compile(r"\nAction\s*\d*\s*Input\s*\d*\s*:\s*")
_NEXT = re.compile(r"\n(?:Thought|Action|Observation)\b")
# Where a name stands in a call that cannot be read, and where its arguments begin.
_SHAPES = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"\"name\"\s*:\s*\"([^\"\n]+)\"(?:\s*,\s*\"(?:arguments|parameters|args|input)\"\s*:)?\s*(.*)",
        r"<function=([^>\s]+)>\s*(.*)",
        r"Action\s*\d*\s*:[ \t]*([^\n]*)\n?(.*)",
        r"\[\s*([A-Za-z_][\w.\-]*)\s*\((.*)",
        r"^\s*([A-Za-z_][\w.\-]*)\s*[\n(]\s*([{(\[].*)",
    )
)
_CLOSING = re.compile(r"(?:</\w+>|<\|[^|<>]*\|>)$")


def written_calls(message: Mapping[str, Any], executed: int = 1) -> list[tuple[str, str]]:
    """Return name and arguments, as text, of each call of an assistant's message.

    Args:
        message: in OpenAI's form; `tool_calls` count before what its content says.
        executed: how many of its calls were. One of a ReAct turn has all behind its label as arguments.

    Returns:
        One pair at least, as the tools' feedback shows that something was called: of a text without any name the name
        is empty and the arguments are the text.
    """
    stated = message.get("tool_calls")
    if stated:
        return [_stated(call) for call in (stated if isinstance(stated, list) else [stated])]
    text = content_text(message.get("content"))
    react = _react(text)
    if react is not None and (executed == 1 or _NEXT.search(react[1]) is None):
        return [react]
    try:
        return [(call.name, _json(call.arguments)) for call in message_calls(message)]
    except CallParseError:
        return [_cut(text)]


def _stated(call: Any) -> tuple[str, str]:
    """Return a call of OpenAI's form, or what stands in its place."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        return "", call if isinstance(call, str) else _json(call)
    arguments = function.get("arguments")
    if arguments is None or arguments == "":
        return function["name"], "{}"
    return function["name"], arguments if isinstance(arguments, str) else _json(arguments)


def _react(text: str) -> tuple[str, str] | None:
    """Return the call of a ReAct turn, as ToolAlpaca's agent cuts it."""
    action = _ACTION.search(text)
    given = _INPUT.search(text, action.end()) if action else None
    if action is None or given is None:
        return None
    return text[action.end() : given.start()].strip(), text[given.end() :].strip(" ").strip('"')


def _cut(text: str) -> tuple[str, str]:
    """Return name and raw arguments of a call that cannot be read."""
    for shape in _SHAPES:
        found = shape.search(text)
        if found is not None and found[1].strip():
            raw = _CLOSING.sub("", found[2].rstrip()).strip()
            is_wrapped = raw.startswith("{") and raw.endswith("}") and raw.count("}") == raw.count("{") + 1
            return found[1].strip(), raw[:-1].rstrip() if is_wrapped else raw
    return "", text.strip()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
