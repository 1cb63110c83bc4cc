"""xLAM-60k (Salesforce/xlam-function-calling-60k; APIGen, arXiv:2406.18518): a query, its calls, the tools.

A record is {"id", "query", "answers", "tools"}. `answers` is the JSON text of [{"name", "arguments"}], `tools` that of
[{"name", "description", "parameters"}], whose parameters are a dictionary: name -> {"description", "type", "default"}
with Python's types. Both also occur decoded (lists in place of their texts), tools also with JSON Schema or within
OpenAI's {"type": "function", "function": ...}; all are read. A parameter is required unless its type says "optional"
or a default is stated; the empty text, with which many records fill the place, states none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..dialogues import CALL, HUMAN, names_of
from ..family import SHAREGPT, Family, Foreign, Outcome, by_patterns, split_by_name
from .tool_schemas import proper_tools
from .turns import Piece, UnusableError, assemble, guarded, read_call, text_of
from .values import as_list

_KEYS = ("query", "answers", "tools")


@guarded
def _read(record: Mapping[str, Any]) -> Outcome:
    missing = [key for key in _KEYS if key not in record]
    if len(missing) > 1:
        return Foreign(f"has no {' and no '.join(f'{key!r}' for key in missing)}".replace("'", '"'))
    if missing:
        raise UnusableError(f'has no "{missing[0]}"')
    findings: list[str] = []
    tools = as_list(record["tools"])
    answers = as_list(record["answers"])
    if tools is None:
        raise UnusableError("its tools are no JSON list")
    if answers is None:
        raise UnusableError("its answers are no JSON list of calls")
    if not answers:
        raise UnusableError("states no call: there is nothing to answer with")
    proper = proper_tools(tools, findings)
    calls = [read_call(answer, names_of(proper), findings) for answer in answers]
    pieces = [Piece(HUMAN, text_of(record["query"])), Piece(CALL, calls=tuple(calls))]
    return assemble(pieces, tools=proper, system="", findings=findings, key=_key(record))


def _key(record: Mapping[str, Any]) -> str:
    key = record.get("id", "")
    return str(key) if isinstance(key, str | int) else ""


FAMILY = Family(
    name="xlam",
    about="xLAM-60k: xlam_function_calling_60k.json",
    mark="tool",
    task="tool",
    layout=SHAREGPT,
    choose=by_patterns(train=("xlam_function_calling_60k.json*", "xlam*.json*")),
    split_of=split_by_name,
    read=_read,
)
