"""Type names of data sets, translated to JSON Schema and back without loss.

A `Tool` holds JSON Schema. A name that means a JSON type only by kinship (BFCL's "tuple", API-Bank's "list(str)")
becomes the nearest type, or none, and is kept under `x-type`, a keyword of ours that JSON Schema permits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

KEPT = "x-type"
_JSON_TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
_KIN = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "list": "array",
    "tuple": "array",
    "list(str)": "array",
    "dict": "object",
}

# What a data set calls each JSON type; a data set's names are read back as exactly these types.
JSON_NAMES = {name: name for name in _JSON_TYPES}
BFCL_NAMES = {**JSON_NAMES, "number": "float", "object": "dict"}
API_BANK_NAMES = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "array": "list",
    "object": "dict",
    "null": "null",
}


def to_json_schema(data: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the schema with JSON types instead of a data set's names."""
    types = {own: json_type for json_type, own in names.items()}

    def translate(schema: dict[str, Any]) -> dict[str, Any]:
        name = schema.get("type")
        if not isinstance(name, str):
            return schema
        if name in types:
            return {**schema, "type": types[name]}
        if KEPT in schema:
            return schema
        kin = _KIN.get(name, name if name in _JSON_TYPES else None)
        members = [("type", kin), (KEPT, name)] if kin else [(KEPT, name)]
        return _replace(schema, "type", members)

    return _walk(data, translate)


def from_json_schema(schema: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the schema with a data set's type names instead of JSON types; undoes `to_json_schema`."""
    own_names = set(names.values())

    def translate(schema: dict[str, Any]) -> dict[str, Any]:
        kept, json_type = schema.get(KEPT), schema.get("type")
        kin = _KIN.get(kept, kept if kept in _JSON_TYPES else None) if isinstance(kept, str) else None
        if isinstance(kept, str) and kept not in own_names and json_type == kin and ("type" in schema) == bool(kin):
            place = "type" if kin else KEPT
            without = {key: value for key, value in schema.items() if key == place or key not in ("type", KEPT)}
            return _replace(without, place, [("type", kept)])
        if isinstance(json_type, str) and json_type in names:
            return {**schema, "type": names[json_type]}
        return schema

    return _walk(schema, translate)


def _replace(schema: Mapping[str, Any], key: str, members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the schema with other members in the place of one, in the same order."""
    return dict(new for old in schema.items() for new in (members if old[0] == key else [old]))


def _walk(schema: Mapping[str, Any], translate: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """Translate a schema and those inside it: list items and members of objects."""
    inside = dict(schema)
    if isinstance(inside.get("items"), Mapping):
        inside["items"] = _walk(inside["items"], translate)
    if isinstance(inside.get("properties"), Mapping):
        inside["properties"] = {
            name: _walk(member, translate) if isinstance(member, Mapping) else member
            for name, member in inside["properties"].items()
        }
    return translate(inside)
