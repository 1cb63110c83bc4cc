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
_MARK = "<functioncall>"
_NAME = re.compile(r'\s*\{\s*"name":\s*"([^"]+)"\s*(,\s*"arguments":\s*)?')
_QUOTE_END = re.compile(r"'\s*\}")
_END = "<|endoftext|>"
_NO_TOOLS = "declares no tool; it is kept"
_BROKEN_CALL = 'a <functioncall> is not {"name": ..., "arguments": ...}; its text is kept as an answer'
_BROKEN_JSON = 'a "function_call" message holds no JSON of calls; it is kept'
_TOOLS_CUT = "the system text lists functions that are no JSON; those are left out of the tools"


def _read(record: Any) -> Outcome:
    if not isinstance(record, Mapping):
        return Foreign(f"is no JSON object but {type(record).__name__}")
    if isinstance(record.get("conversations"), list) and isinstance(record.get("tools"), str | list):
        if str(record.get("system") or "").strip():
            return Foreign('has a "system" text beside "conversations", as APIGen-MT (apigen_mt) and ToolACE have it')
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
    turns = []
    for message in messages:
        text = message["value"]
        if message["from"] == CALL:
            text = _as_list(text)
            findings += _call_defects(text, declared)
        turns.append(turn(message["from"], text))
    return example(turns, tools=tools, findings=findings)


def _as_list(text: str) -> str:
    """Return calls that follow one another as one JSON list; a single call, or what is no JSON, stays as it is."""
    decoder, found, place = json.JSONDecoder(), [], 0
    try:
        while place < len(text):
            value, place = decoder.raw_decode(text, place)
            found.append(value)
            place += len(text[place:]) - len(text[place:].lstrip(" \t\r\n,;"))
    except (ValueError, RecursionError):
        return text
    return json.dumps(found, ensure_ascii=False) if len(found) > 1 else text


def _call_defects(text: str, declared: set[str]) -> list[str]:
    try:
        calls = json.loads(text)
        names = [made["name"] for made in (calls if isinstance(calls, list) else [calls])]
    except (ValueError, TypeError, KeyError, RecursionError):
        return [_BROKEN_JSON]
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
        if speaker == "ASSISTANT" and _MARK in text:
            spoken, defects = _spoken_calls(text, names_of(tools))
            findings += defects
            turns.append(spoken)
        else:
            turns.append(turn(_SPEAKERS[speaker], text))
    return example(turns, tools=tools, findings=findings)


def _declarations(system: str) -> tuple[list[Any], bool]:
    """Return (tools, whether something that looks like one could not be read): JSON objects one after another."""
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


def _spoken_calls(text: str, declared: set[str]) -> tuple[dict[str, str], list[str]]:
    """Return all calls of a turn, in order, after what the assistant says first; anything else is no turn of calls."""
    place = text.index(_MARK)
    thought = text[:place].strip()
    calls: list[dict[str, Any]] = []
    findings: list[str] = []
    while text.startswith(_MARK, place):
        read = _one_call(text, place + len(_MARK))
        if read is None:
            return turn(GPT, text), [_BROKEN_CALL]
        name, arguments, place = read
        made, defects = published_call(name, arguments, declared)
        calls.append(made)
        findings += defects
        place += len(text[place:]) - len(text[place:].lstrip())
    return (call_turn(calls, thought), findings) if place == len(text) else (turn(GPT, text), [_BROKEN_CALL])


def _one_call(text: str, place: int) -> tuple[str, str, int] | None:
    """Return name, arguments and end of the call at a place; None if it is not {"name": ..., "arguments": ...}.

    The published arguments stand in single quotes: '{"a": 1}'. They end at the first quote and bracket that leave
    JSON; of those that are none nowhere, at the last before the next call.
    """
    head = _NAME.match(text, place)
    if head is None:
        return None
    start = head.end()
    if head[2] and text.startswith("'", start):
        following = text.find(_MARK, start)
        last = None
        for end in _QUOTE_END.finditer(text, start + 1):
            raw = text[start + 1 : end.start()].replace("\\'", "'")
            if _is_json(raw):
                return head[1], raw, end.end()
            if following < 0 or end.start() < following:
                last = (head[1], raw, end.end())
        return last
    if text.startswith("}", start):
        return head[1], "{}", start + 1
    if head[2] is None:
        return None
    try:
        value, end_place = json.JSONDecoder().raw_decode(text, start)
        closing = re.compile(r"\s*\}").match(text, end_place)
    except (ValueError, RecursionError):
        return _unquoted(text, head[1], start)
    return (head[1], json.dumps(value, ensure_ascii=False), closing.end()) if closing else None


def _unquoted(text: str, name: str, start: int) -> tuple[str, str, int] | None:
    """Return a call whose bare arguments are no JSON: up to the last bracket before the next call."""
    following = text.find(_MARK, start)
    end = text.rfind("}", start, len(text) if following < 0 else following)
    return None if end < 0 else (name, text[start:end].strip(), end + 1)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


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
