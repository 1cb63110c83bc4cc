"""Glaive function calling: the published `system` and `chat` texts, or LLaMA-Factory's sharegpt form of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from ..dialogues import CALL, GPT, HUMAN, NOT_DECLARED, OBSERVATION, call_turn, example, names_of, published_call, turn
from ..family import SHAREGPT, Drop, Family, Foreign, Outcome, by_patterns, split_by_name

_SPEAKERS = {"USER": HUMAN, "ASSISTANT": GPT, "FUNCTION RESPONSE": OBSERVATION}
_TURN = re.compile(rf"(?:^|\n)({'|'.join(_SPEAKERS)}): ?")
_CALL = re.compile(r'<functioncall>\s*\{\s*"name":\s*"([^"]+)"(?:,\s*"arguments":\s*(.*?))?\s*\}\s*', re.DOTALL)
_END = "<|endoftext|>"
_NO_TOOLS = "declares no tool; it is kept"
_BROKEN_CALL = 'a <functioncall> is not {"name": ..., "arguments": ...}; its text is kept as an answer'
_TOOLS_CUT = "the system text lists functions that are no JSON; those are left out of the tools"


def _read(record: Any) -> Outcome:
    if not isinstance(record, Mapping):
        return Foreign(f"is no JSON object but {type(record).__name__}")
    if isinstance(record.get("conversations"), list) and isinstance(record.get("tools"), str | list):
        return _sharegpt(record)
    if isinstance(record.get("system"), str) and isinstance(record.get("chat"), str):
        return _original(record["system"], record["chat"])
    return Foreign('has neither "system" and "chat" nor "conversations" and "tools"')


def _sharegpt(record: Mapping[str, Any]) -> Outcome:
    tools, messages = record["tools"], record["conversations"]
    if isinstance(tools, str):
        try:
            tools = json.loads(tools) if tools.strip() else []
        except (ValueError, RecursionError):
            return Foreign('has "tools" that are no JSON')
    if not all(isinstance(m, Mapping) and {type(m.get("from")), type(m.get("value"))} == {str} for m in messages):
        return Foreign('has a message without "from" and "value"')
    findings = [] if tools else [_NO_TOOLS]
    declared = names_of(tools)
    for message in messages:
        if message["from"] == CALL:
            findings += _call_defects(message["value"], declared)
    turns = [turn(message["from"], message["value"]) for message in messages]
    return example(turns, tools=tools, system=str(record.get("system") or ""), findings=findings)


def _call_defects(text: str, declared: set[str]) -> list[str]:
    try:
        calls = json.loads(text)
        names = [made["name"] for made in (calls if isinstance(calls, list) else [calls])]
    except (ValueError, TypeError, KeyError, RecursionError):
        return [_BROKEN_CALL]
    return [] if set(names) <= declared else [NOT_DECLARED]


def _original(system: str, chat: str) -> Outcome:
    tools, cut = _declarations(system)
    findings = ([_TOOLS_CUT] if cut else []) + ([] if tools else [_NO_TOOLS])
    parts = _TURN.split(chat)
    if parts[0].strip() or len(parts) < 3:
        return Drop("the chat does not begin with a speaker")
    turns = []
    for speaker, said in zip(parts[1::2], parts[2::2], strict=True):
        text = said.replace(_END, "").strip()
        if speaker == "ASSISTANT" and "<functioncall>" in text:
            spoken, defects = _spoken_call(text, names_of(tools))
            findings += defects
            turns.append(spoken)
        else:
            turns.append(turn(_SPEAKERS[speaker], text))
    return example(turns, tools=tools, findings=findings)


def _declarations(system: str) -> tuple[list[Any], bool]:
    """(tools, whether something that looks like one could not be read): JSON objects one after another."""
    tools, cut = [], False
    start = system.find("{")
    while start >= 0:
        try:
            tool, end = json.JSONDecoder().raw_decode(system, start)
        except (ValueError, RecursionError):
            cut, end = True, start + 1
        else:
            tools.append(tool)
        start = -1 if cut else system.find("{", end)
    return tools, cut


def _spoken_call(text: str, declared: set[str]) -> tuple[dict[str, str], list[str]]:
    """The published arguments stand in single quotes: '{"a": 1}'."""
    thought, _, _ = text.partition("<functioncall>")
    match = _CALL.fullmatch(text[len(thought) :])
    if match is None:
        return turn(GPT, text), [_BROKEN_CALL]
    arguments = (match[2] or "{}").strip()
    if len(arguments) > 1 and arguments[0] == arguments[-1] == "'":
        arguments = arguments[1:-1].replace("\\'", "'")
    made, defects = published_call(match[1], arguments, declared)
    return call_turn([made], thought.strip()), list(defects)


FAMILY = Family(
    name="glaive",
    about="Glaive function calling: glaive-function-calling-v2.json, or glaive_toolcall_*.json of LLaMA-Factory",
    mark="tool",
    task="tool",
    layout=SHAREGPT,
    choose=by_patterns(train=("glaive*calling*.json*", "glaive*toolcall*.json", "glaive*.json*")),
    split_of=split_by_name,
    read=_read,
)
