"""Hermes function calling (NousResearch/hermes-function-calling-v1): tools and calls in tags, and answers in JSON.

Its configs are the files func-calling.json, func-calling-singleturn.json, glaive-function-calling-5k.json,
json-mode-agentic.json and json-mode-singleturn.json. A record is {"id", "conversations", "category", ...}: messages
{"from", "value"} of system, human, gpt and tool. The system message lists the tools within <tools>, as a JSON list, a
Python list or objects one after another; some records also hold them under "tools". A gpt message states calls within
<tool_call>, one or several to a tag and to a turn, as JSON or as a Python dict; thoughts in <think> or <scratch_pad>
and words before the calls stay before them. A tool message holds its results within <tool_response>.

A record without tools, calls and results, as those of the json-mode files, is a general example of task "json". Of the
system text of tool data, the list of tools and what it says of the tags is left out: the template writes its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from llamafactory_ext.errors import CallParseError

from ..dialogues import CALL, CALL_MARKS, GPT, OBSERVATION, SYSTEM, names_of
from ..family import SHAREGPT, Chosen, Example, Family, Foreign, Outcome, split_by_name
from .prose import without_sentences
from .tool_schemas import proper_tools
from .toolace import tools_in
from .turns import Piece, UnusableError, assemble, calls_at, guarded, messages_of, text_of
from .values import as_list, as_text, read_value

WORDS_AFTER = "words stand after a call; they are put before it"
NOT_CLOSED = "a <tool_call> is not closed; it is read to its end"
_TOOLS = re.compile(r"<tools>(.*?)</tools>", re.DOTALL)
_EXAMPLE = re.compile(r"<tool_call>(?:\s|\\n)*\{.*?</tool_call>", re.DOTALL)
_FORMAT = re.compile(
    r"</?tools>|</?tool_call>|<tool_response>|pydantic model json schema|here are the available tools", re.I
)
_OPENING = re.compile(r"<(think|thinking|scratch_?pad|reflection)>.*?</\1>|<tool_call>", re.DOTALL | re.IGNORECASE)
_SPACE = re.compile(r"(?:\s|\\n)*+")  # some tags hold a written "\n" in place of a line break
_RESPONSE = re.compile(r"<tool_response>(.*?)(?:</tool_response>|\Z)", re.DOTALL)
_TOOL_FILES = ("func-calling*.json*", "func_calling*.json*", "glaive*function*calling*5k.json*", "hermes*.json*")
_GENERAL_FILES = ("json-mode*.json*", "json_mode*.json*")


@guarded
def _read(record: Mapping[str, Any]) -> Outcome:
    if not isinstance(record.get("conversations"), list) or isinstance(record.get("system"), str):
        return Foreign('has no "conversations", or a "system" text beside them')
    messages = messages_of(record)
    if not messages:
        raise UnusableError("the dialogue has no turn")
    if messages[0][0] != SYSTEM:
        if "tools" in record or "category" not in record:
            return Foreign("does not begin with a message of system")
        raise UnusableError("does not begin with a message of system")
    system = text_of(messages.pop(0)[1])
    blocks = [block for block in _TOOLS.findall(system) if block.strip()]
    if not blocks and not record.get("tools") and tools_in(system) is not None:
        return Foreign("lists its tools outside of <tools>")
    findings: list[str] = []
    tools = proper_tools(_listed(blocks, record.get("tools")), findings)
    pieces = [_piece(role, content, names_of(tools), findings) for role, content in messages]
    if not tools and all(piece.role not in (CALL, OBSERVATION) for piece in pieces):
        made = assemble(pieces, tools=(), system=system, findings=findings)
        return replace(made, mark="general", task="json") if isinstance(made, Example) else made
    return assemble(pieces, tools=tools, system=_prose(system), findings=findings)


def _listed(blocks: list[str], beside: Any) -> list[Any]:
    """Return the tools of all <tools> blocks, or those beside the dialogue where there is none that can be read."""
    if not blocks:
        listed = as_list(beside)
        if listed is None:
            raise UnusableError("its tools are no JSON list")
        return listed
    tools: list[Any] = []
    for block in blocks:
        pos, end = 0, len(block.rstrip())
        while pos < end:
            try:
                value, pos = read_value(block, _skip(block, pos))
            except CallParseError:
                if beside:
                    return _listed([], beside)
                raise UnusableError("what stands in <tools> is neither JSON nor Python literals") from None
            tools += value if isinstance(value, list) else [value]
            pos = _skip(block, pos)
            pos += block.startswith(",", pos)
    return tools


def _piece(role: str, content: Any, declared: set[str], findings: list[str]) -> Piece:
    if role == SYSTEM:
        raise UnusableError("a system message stands within the dialogue")
    if role == OBSERVATION:
        text = as_text(content)
        results = [found.strip() for found in _RESPONSE.findall(text)]
        return Piece(OBSERVATION, results=tuple(results or [text.strip()]))
    text = text_of(content)
    return _spoken(text, declared, findings) if role == GPT else Piece(role, text)


def _spoken(text: str, declared: set[str], findings: list[str]) -> Piece:
    """Return an answer, or a turn with calls; calls within a thought are drafts and are none."""
    words: list[str] = []
    calls: list[dict[str, Any]] = []
    pos = start = 0
    while (found := _OPENING.search(text, pos)) is not None:
        pos = found.end()
        if found[0] != CALL_MARKS[0]:
            continue
        words.append(text[start : found.start()].strip())
        made, pos = _tagged(text, pos, declared, findings)
        calls += made
        start = pos
    if not calls:
        return Piece(GPT, text)
    words.append(text[start:].strip())
    findings += [WORDS_AFTER] if any(words[1:]) else []
    return Piece(CALL, "\n".join(filter(None, words)), calls=tuple(calls))


def _tagged(text: str, pos: int, declared: set[str], findings: list[str]) -> tuple[list[dict[str, Any]], int]:
    """Return the calls of the tag that opens before `pos`, and where it ends."""
    calls: list[dict[str, Any]] = []
    pos = _skip(text, pos)
    while not text.startswith(CALL_MARKS[1], pos):
        if calls and (pos == len(text) or text.startswith(CALL_MARKS[0], pos)):
            findings.append(NOT_CLOSED)
            return calls, pos
        made, pos = calls_at(text, pos, declared, findings)
        calls += made
        pos = _skip(text, pos)
        pos = _skip(text, pos + text.startswith(",", pos))
    if not calls:
        raise UnusableError("a <tool_call> is empty")
    return calls, pos + len(CALL_MARKS[1])


def _skip(text: str, pos: int) -> int:
    match = _SPACE.match(text, pos)
    return match.end() if match is not None else pos


def _prose(system: str) -> str:
    without = _EXAMPLE.sub("", _TOOLS.sub(lambda block: " " if block[1].strip() else block[0], system))
    return without_sentences(without, _FORMAT)


def _choose(folder: Path, split: str) -> Chosen:
    """Return the files with tools; those without, which make general examples, only where there are no others."""
    if split != "train":
        return Chosen(())
    found = [
        sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
        for patterns in (_TOOL_FILES, _GENERAL_FILES)
    ]
    tools, general = found
    if not tools:
        return Chosen(tuple(general))
    reason = "general examples without tools: name the file, and a --dataset_name"
    return Chosen(tuple(tools), tuple((path, reason) for path in general))


FAMILY = Family(
    name="hermes",
    about="Hermes function calling v1: func-calling*.json, glaive-function-calling-5k.json; or a json-mode-*.json",
    mark="tool",
    task="tool",
    layout=SHAREGPT,
    choose=_choose,
    split_of=split_by_name,
    read=_read,
)
