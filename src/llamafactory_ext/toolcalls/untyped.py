"""Values that a call format writes as bare text, without saying whether they are texts, numbers or JSON.

GLM-4.5, Qwen3-Coder, Seed-OSS and MiniMax-M2 write calls so: a text as it is, anything else as JSON. The schema of the
parameter tells the two apart. Without one, whatever is JSON is read as JSON: `75001` is a number then.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn

from ..errors import DataError
from .model import Tool, ToolCall
from .values import Json, copy_json

Schema = Mapping[str, Json]

_TEXT, _NULL = "string", "null"
# JSON Schema's words, and those of BFCL, RoTBench, Gemini and ToolBench, in lower case.
_KINDS = {
    **dict.fromkeys(("string", "str", "text", "char", "varchar"), _TEXT),
    **dict.fromkeys(("integer", "int", "long"), "integer"),
    **dict.fromkeys(("number", "float", "double"), "number"),
    **dict.fromkeys(("boolean", "bool"), "boolean"),
    **dict.fromkeys(("array", "list", "tuple", "set"), "array"),
    **dict.fromkeys(("object", "dict", "map", "hashmap"), "object"),
    **dict.fromkeys((_NULL, "none", "nonetype"), _NULL),
}
_KIND_WORD = re.compile(r"[a-z]+")
_UNIONS = ("anyOf", "oneOf", "allOf")
# Templates that write values by Python's `str` write these; Qwen3-Coder's published one does.
_PYTHON_CONSTANTS: dict[str, Json] = {"True": True, "False": False, "None": None}


def write_value(value: Json) -> str:
    """Write a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def read_value(text: str, schema: Schema | None) -> Json:
    """Read a value that stands as bare text.

    Args:
        text: the value as the format writes it.
        schema: the JSON schema of the parameter; None if nobody declares it.

    Returns:
        The text itself where the schema asks for a text, or where it is no JSON value.
    """
    kinds = _kinds(schema or {})
    if kinds == {_TEXT}:
        return text
    if kinds and text in _PYTHON_CONSTANTS and _TEXT not in kinds:
        return _PYTHON_CONSTANTS[text]
    for value in _json(text):
        return value if _TEXT not in kinds or _is_kind(value, kinds) else text
    return text


def schema_of(declared: Mapping[str, Tool], tool: str, parameter: str) -> Schema | None:
    """Return the declared schema of a tool's parameter, if there is one."""
    return declared[tool].parameters.get(parameter) if tool in declared else None


def as_untyped(call: ToolCall, declared: Mapping[str, Tool]) -> ToolCall:
    """Return a call as a reader gets it from a format without types: each value by its schema, or by what it is."""
    arguments = {
        key: read_value(write_value(value), schema_of(declared, call.name, key))
        for key, value in call.arguments.items()
    }
    return ToolCall(call.name, arguments)


def texts_of(calls: Sequence[ToolCall]) -> list[ToolCall]:
    """Return the calls with every argument as the text that an untyped format writes."""
    return [ToolCall(call.name, {key: write_value(value) for key, value in call.arguments.items()}) for call in calls]


def declare_texts(calls: Iterable[ToolCall]) -> dict[str, Tool]:
    """Declare every argument of the calls as a text, so that a reader gives back what stands there."""
    names: dict[str, set[str]] = {}
    for call in calls:
        names.setdefault(call.name, set()).update(call.arguments)
    return {tool: Tool(tool, parameters={key: {"type": _TEXT} for key in keys}) for tool, keys in names.items()}


def _kinds(schema: Schema) -> frozenset[str]:
    """Return the kinds of values that a schema allows; none if it does not say."""
    declared = schema.get("type")
    found: list[frozenset[str]] = []
    if isinstance(declared, str | list):
        found = [_kind(word) for word in ([declared] if isinstance(declared, str) else declared)]
        if schema.get("nullable") is True:
            found.append(frozenset((_NULL,)))
    elif isinstance(members := schema.get("enum", [schema["const"]] if "const" in schema else None), list):
        found = [frozenset((_kind_of(member),)) for member in members]
    else:
        unions = (schema.get(key) for key in _UNIONS)
        branches = [one for union in unions if isinstance(union, list) for one in union]
        found = [_kinds(one) if isinstance(one, dict) else frozenset() for one in branches]
    return frozenset[str]().union(*found) if all(found) else frozenset()


def _kind(word: Json) -> frozenset[str]:
    found = _KIND_WORD.match(word.strip().lower()) if isinstance(word, str) else None
    kind = _KINDS.get(found[0]) if found is not None else None
    return frozenset() if kind is None else frozenset((kind,))


def _kind_of(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    kinds = {str: _TEXT, int: "integer", float: "number", list: "array", dict: "object"}
    return next((kind for type_, kind in kinds.items() if isinstance(value, type_)), _NULL)


def _is_kind(value: object, kinds: frozenset[str]) -> bool:
    """Tell whether a value is of one of the kinds that are no text."""
    kind = _kind_of(value)
    return kind != _TEXT and (kind in kinds or (kind == "integer" and "number" in kinds))


def _json(text: str) -> tuple[()] | tuple[Json]:
    """Return the JSON value that a text is, within the limits of calls; nothing if it is none."""
    try:
        return (copy_json(json.loads(text, strict=False, parse_constant=_refuse), "The value"),)
    except (ValueError, RecursionError, DataError):
        return ()


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")
