"""ToolACE (Team-ACE/ToolACE, arXiv:2409.00920): dialogues whose calls are written `[Name(a=1), Other Name(b="x")]`.

A record is {"system", "conversations"}: the system text holds the tools as a JSON list, at its end or within, and
messages {"from", "value"} are of user, assistant and tool. Read as well: the system text as a first message, human,
gpt, function and observation for the roles, calls as JSON objects, calls without the brackets, and calls after words.
Names keep their spaces, slashes and dots, in the tools as in the calls. Arguments by position get the names that the
declared tool has in that place. A tool message is a JSON list with a result
for each call. Of the system text, the list and what it says of the published form of calls are left out: the template
writes its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from llamafactory_ext.errors import CallParseError

from ..dialogues import CALL, GPT, OBSERVATION, SYSTEM, names_of
from ..family import SHAREGPT, Family, Foreign, Outcome, by_patterns, split_by_name
from .prose import without_sentences
from .tool_schemas import proper_tools
from .turns import NO_TOOLS, Piece, UnusableError, assemble, calls_at, checked_call, guarded, messages_of, text_of
from .values import as_text, list_items, read_value

QUOTED = "an answer quotes a call among its words; it is kept as an answer"
BY_POSITION = "a published call gives arguments by position; they are named in the order of the declared parameters"
_LIST = re.compile(r"\[\s*\{")
_FORMAT = re.compile(
    r"functions? in json format|\[\s*func|params?_name|return the function calls?|invoke any of the function"
    r"|(?:not?|any) other text|^[.\s]+$",
    re.IGNORECASE,
)
_BAD_CALL = "a call does not parse: [Name(key=value, ...)] is expected"
_NAME = re.compile(r"[^\[\](){}=,\"'\n]{1,300}(?=\s*\()")
_KEY = re.compile(r"([^=,(){}\"'\n]{1,300})\s*=(?!=)")
_QUOTED_KEY = re.compile(r"""["']([^"'\n]{1,300})["']\s*[=:]""")
_BEGINS = re.compile(r"\[[^\[\](){}=,\"'\n]{1,300}\s*\(\s*(?:[)\"'\d]|[^=,(){}\"'\n]{1,300}\s*=)")
_STATES = re.compile(r"\[\s*[^\[\](){}=,\"'\n]{1,300}\(\s*[^\s=,(){}\"'\n]{1,100}\s*=(?!=)")
Declared = Mapping[str, tuple[str, ...]]  # names of tools, with those of their parameters in order
_OBJECT = ("{", "[{")  # calls as JSON


@guarded
def _read(record: Mapping[str, Any]) -> Outcome:
    conversations, system = record.get("conversations"), record.get("system")
    if not isinstance(conversations, list) or record.get("tools"):
        return Foreign('has no "conversations", or "tools" beside them')
    within = not isinstance(system, str)
    if within and "scenario" in record:
        return Foreign('has a "scenario", as RoTBench and ToolEyes have it')
    messages = messages_of(record)
    if within:
        if not messages or messages[0][0] != SYSTEM:
            return Foreign('has neither a "system" text nor a first message of system')
        system = text_of(messages.pop(0)[1])
    assert isinstance(system, str)
    listed = tools_in(system)
    alone = listed is not None and listed[1:] == (0, len(system))  # as TL-Training has it
    if within and (listed is None or alone or "<tools>" in system):
        return Foreign("has a first message that lists no tools as JSON")
    if listed is None and _LIST.search(system):
        raise UnusableError("the list of tools in its system text is no JSON")
    published, start, end = listed or ([], len(system), len(system))
    findings: list[str] = [] if published else [NO_TOOLS]
    tools = proper_tools(published, findings)
    prose = without_sentences(f"{system[:start]}\n{system[end:]}", _FORMAT)
    pieces: list[Piece] = []
    for role, content in messages:
        asked = len(pieces[-1].calls) if pieces else 0
        pieces.append(_piece(role, content, _declared(tools), asked, findings))
    return assemble(pieces, tools=tools, system=prose, findings=findings)


def _declared(tools: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for tool in tools:
        function = tool.get("function", tool)
        found[function["name"]] = tuple((function.get("parameters") or {}).get("properties") or ())
    return found


def tools_in(text: str) -> tuple[list[Any], int, int] | None:
    """Find the first list of tools that stands in a text, and from where to where; None if there is none."""
    for found in _LIST.finditer(text):
        try:
            value, end = read_value(text, found.start())
        except CallParseError:
            continue
        if names_of(value if isinstance(value, list) else ()):
            return value, found.start(), end
    return None


def _piece(role: str, content: Any, declared: Declared, asked: int, findings: list[str]) -> Piece:
    if role == SYSTEM:
        raise UnusableError("a system message stands within the dialogue")
    if role == OBSERVATION:
        text = as_text(content).strip()
        items = list_items(text)
        return Piece(OBSERVATION, results=tuple(items) if items and len(items) == asked else (text,))
    text = text_of(content)
    if role == CALL:
        calls, end = _calls(text, 0, declared, findings)
        if not calls or text[end:].strip():
            raise UnusableError(_BAD_CALL)
        return Piece(CALL, calls=tuple(calls))
    return _spoken(text, declared, findings) if role == GPT else Piece(role, text)


def _spoken(text: str, declared: Declared, findings: list[str]) -> Piece:
    """Return a turn with calls, or an answer in words, which may begin with a bracket too."""
    start = _first_call(text, declared)
    ends = text.rstrip("] \n").endswith(")")
    if start is None and (_BEGINS.match(text) if ends else _STATES.match(text)):
        start = 0  # of a tool that is not declared
    if start is None:
        return Piece(GPT, text)
    try:
        calls, end = _calls(text, start, declared, findings)
    except UnusableError:
        if start == 0 and ((ends and text.startswith("[")) or _BEGINS.match(text) or text.startswith(_OBJECT)):
            raise
        calls, end = [], start
    if not calls or text[end:].strip(" \n.;"):
        findings += [QUOTED] if calls or _BEGINS.match(text, start) else []
        return Piece(GPT, text)
    return Piece(CALL, text[:start].strip(), calls=tuple(calls))


def _first_call(text: str, declared: Declared) -> int | None:
    """Return where a call of a declared tool begins: after a bracket, or at the very beginning."""
    names = "|".join(re.escape(name) for name in sorted(declared, key=len, reverse=True))
    if not names:
        return None
    if text.startswith(_OBJECT) and re.search(rf"""["']name["']\s*:\s*["'](?:{names})["']""", text):
        return 0 if "arguments" in text or "parameters" in text else None
    found = re.search(rf"\[\s*(?:{names})\s*\(|\A(?:{names})\s*\(", text)
    return None if found is None else found.start()


def _calls(text: str, pos: int, declared: Declared, findings: list[str]) -> tuple[list[dict[str, Any]], int]:
    """Return the calls that begin at `pos`, in one list or several, and where they end."""
    if text.startswith(_OBJECT, pos):
        return calls_at(text, pos, declared, findings)
    calls: list[dict[str, Any]] = []
    bracket = text.startswith("[", pos)
    while True:
        pos = _blanks(text, pos + text.startswith("[", pos))
        made, pos = _call(text, pos, declared, findings)
        calls.append(made)
        pos = _blanks(text, pos)
        if bracket and text.startswith("]", pos):
            again = _blanks(text, pos + 1)
            again = _blanks(text, again + text.startswith(",", again))
            if not text.startswith("[", again):
                return calls, pos + 1
            pos = again
        elif text.startswith((",", ";"), pos):
            pos += 1
        elif bracket:
            raise UnusableError(_BAD_CALL)
        else:
            return calls, pos


def _call(text: str, pos: int, declared: Declared, findings: list[str]) -> tuple[dict[str, Any], int]:
    names = sorted(declared, key=len, reverse=True)
    name = next((one for one in names if text.startswith(one, pos) and _opens(text, pos + len(one))), None)
    if name is None:
        match = _NAME.match(text, pos)
        if match is None:
            raise UnusableError(_BAD_CALL)
        name = match[0]
    pos = text.index("(", pos + len(name)) + 1
    arguments: dict[str, Any] = {}
    unnamed = iter(declared.get(name, ()))
    named = False
    while not text.startswith(")", pos := _blanks(text, pos)):
        match = _KEY.match(text, pos) or _QUOTED_KEY.match(text, pos)
        named = named or match is not None
        key = match[1].strip() if match is not None else None if named else next(unnamed, None)
        if key is None or key in arguments:
            raise UnusableError(_BAD_CALL)
        try:
            arguments[key], pos = read_value(text, _blanks(text, match.end() if match is not None else pos))
            findings += [] if match is not None else [BY_POSITION]
        except CallParseError:
            raise UnusableError(
                "an argument of a call is no value: no number, text in quotes, list or object"
            ) from None
        pos = _blanks(text, pos)
        if text.startswith(",", pos):
            pos += 1
        elif not text.startswith(")", pos):
            raise UnusableError(_BAD_CALL)
    return checked_call(name.strip(), arguments), pos + 1


def _opens(text: str, pos: int) -> bool:
    return text.startswith("(", _blanks(text, pos))


def _blanks(text: str, pos: int) -> int:
    while text[pos : pos + 1].isspace():
        pos += 1
    return pos


FAMILY = Family(
    name="toolace",
    about="ToolACE: data.json, or toolace*.json",
    mark="tool",
    task="tool",
    layout=SHAREGPT,
    choose=by_patterns(train=("data.json", "toolace*.json*", "ToolACE*.json*", "data.jsonl")),
    split_of=split_by_name,
    read=_read,
)
