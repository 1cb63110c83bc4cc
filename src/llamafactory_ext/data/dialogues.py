"""Dialogues with calls in LLaMA-Factory's sharegpt form: turns, calls, and what keeps upstream from using them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .family import Drop, Example

HUMAN, GPT, CALL, OBSERVATION, SYSTEM = "human", "gpt", "function_call", "observation", "system"
ASKING, ANSWERING = (HUMAN, OBSERVATION), (GPT, CALL)
NOT_JSON = "the published arguments of a call are no JSON object; they are kept as text"
NOT_DECLARED = "a published call names a tool that is not declared; it is kept"
# Upstream's own marks around the call in a turn that says something first (`Template.tool_call_words`).
CALL_MARKS = ("<tool_call>", "</tool_call>")
_REACT = re.compile(r"(?:Thought:)?(.*?)(?:^|\n)Action: *([^\n]*?) *\nAction Input:(.*)", re.DOTALL)


def turn(role: str, text: str) -> dict[str, str]:
    """Return one message by upstream's default tags."""
    return {"from": role, "value": text}


def call(name: str, arguments: Any) -> dict[str, Any]:
    """Return a call as upstream's JSON has it."""
    return {"name": name, "arguments": arguments}


def published_call(name: str, text: Any, declared: Iterable[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return (call, defects): arguments given as JSON text are read.

    Text that is none is kept as it is, never repaired.
    """
    findings = [] if name in declared else [NOT_DECLARED]
    arguments = text
    if isinstance(text, str):
        try:
            arguments = json.loads(text)
        except (ValueError, RecursionError):
            arguments = text
    if not isinstance(arguments, Mapping):
        arguments = text
        findings.append(NOT_JSON)
    return call(name, arguments), tuple(findings)


def call_turn(calls: Sequence[Mapping[str, Any]], thought: str = "") -> dict[str, str]:
    """Return a turn of one call or several, after what the assistant says first, if anything."""
    text = json.dumps(calls[0] if len(calls) == 1 else list(calls), ensure_ascii=False)
    return turn(CALL, f"{thought}\n{CALL_MARKS[0]}{text}{CALL_MARKS[1]}" if thought else text)


def split_react(text: str) -> tuple[str, str, str] | None:
    """Return (thought, name, arguments as text) of "Thought: ... Action: ... Action Input: ...".

    None for other texts.
    """
    match = _REACT.fullmatch(text.strip())
    return None if match is None else (match[1].strip(), match[2], match[3].strip())


def names_of(tools: Iterable[Any]) -> set[str]:
    """Return the names of declared tools, bare or wrapped as OpenAI's `{"type": "function", "function": ...}`."""
    functions = (tool.get("function", tool) if isinstance(tool, Mapping) else {} for tool in tools)
    return {str(function["name"]) for function in functions if isinstance(function, Mapping) and "name" in function}


def order_fault(roles: Sequence[str]) -> str | None:
    """Say why upstream would leave a dialogue with these roles (system apart) out, in words; None if it would not."""
    if not roles:
        return "the dialogue has no turn"
    for index, role in enumerate(roles):
        allowed = ANSWERING if index % 2 else ASKING
        if role not in allowed:
            return f'turn {index + 1} is of "{role}" where {" or ".join(allowed)} is due'
    return None if len(roles) % 2 == 0 else f'the dialogue ends with "{roles[-1]}", not with the assistant'


def example(
    turns: Sequence[Mapping[str, str]],
    *,
    tools: Any = (),
    system: str = "",
    reference: Any = None,
    key: str = "",
    findings: Iterable[str] = (),
) -> Example | Drop:
    """Return a sharegpt example, or the reason why upstream could not use it.

    Tools stay as published, in one JSON text; so does `reference`, what a scorer needs of the source (None for
    training data).
    """
    fault = order_fault([message["from"] for message in turns])
    if fault is not None:
        return Drop(re.sub(r"turn \d+", "a turn", fault))  # one reason for all records with this fault
    columns: dict[str, Any] = {
        "conversations": list(turns),
        "system": system,
        "tools": json.dumps(list(tools), ensure_ascii=False) if tools else "",
    }
    if reference is not None:
        columns["reference"] = json.dumps(reference, ensure_ascii=False)
    return Example(columns, key, tuple(dict.fromkeys(findings)))
