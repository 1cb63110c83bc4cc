"""APIGen-MT-5k (Salesforce/APIGen-MT-5k, arXiv:2504.03601): dialogues of a customer with an agent that has tools.

A record is {"conversations", "tools", "system"}: messages {"from", "value"} of human, gpt, function_call and
observation, the tools as JSON text, and the policy that the agent follows, which stays whole. A call is the JSON of
{"name", "arguments"}; calls and observations follow each other in pairs, or several calls and then several
observations. Read as well: role and content for from and value, user, assistant and tool for the roles, the policy as
a first system message, tools and calls that are decoded, and calls as a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..dialogues import CALL, OBSERVATION, SYSTEM, names_of
from ..family import SHAREGPT, Family, Foreign, Outcome, by_patterns, split_by_name
from .tool_schemas import proper_tools
from .turns import NO_TOOLS, Piece, UnusableError, assemble, calls_at, guarded, messages_of, text_of
from .values import as_list, as_text


@guarded
def _read(record: Mapping[str, Any]) -> Outcome:
    conversations, system = record.get("conversations"), record.get("system")
    if not isinstance(conversations, list) or "tools" not in record:
        return Foreign('has no "conversations" and "tools"')
    first = conversations[0] if conversations and isinstance(conversations[0], Mapping) else {}
    opening = first.get("value", first.get("content")) if first.get("from", first.get("role")) == "system" else None
    if not isinstance(system, str) and (not isinstance(opening, str) or "<tools>" in opening):
        return Foreign('has neither a "system" text nor a first message of "system" without <tools>')
    findings: list[str] = []
    listed = as_list(record["tools"])
    if listed is None:
        raise UnusableError("its tools are no JSON list")
    tools = proper_tools(listed, findings)
    findings += [] if tools else [NO_TOOLS]
    messages = messages_of(record)
    if messages and messages[0][0] == SYSTEM:
        system = "\n".join(filter(None, (system, text_of(messages.pop(0)[1]))))
    pieces = [_piece(role, content, names_of(tools), findings) for role, content in messages]
    return assemble(pieces, tools=tools, system=(system or "").strip(), findings=findings)


def _piece(role: str, content: Any, declared: set[str], findings: list[str]) -> Piece:
    if role == SYSTEM:
        raise UnusableError("a system message stands within the dialogue")
    if role == OBSERVATION:
        return Piece(role, results=(as_text(content),))
    if role != CALL:
        return Piece(role, text_of(content))
    text = as_text(content).strip()
    calls, end = calls_at(text, 0, declared, findings)
    if text[end:].strip() or not calls:
        raise UnusableError("a call does not parse, neither as JSON nor as a Python literal")
    return Piece(role, calls=tuple(calls))


FAMILY = Family(
    name="apigen_mt",
    about="APIGen-MT-5k: apigen-mt_5k.json",
    mark="tool",
    task="tool",
    layout=SHAREGPT,
    choose=by_patterns(train=("apigen-mt_5k.json*", "apigen*mt*.json*")),
    split_of=split_by_name,
    read=_read,
)
