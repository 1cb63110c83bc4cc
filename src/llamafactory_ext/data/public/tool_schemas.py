"""Published tools as upstream's templates and servers want them: `parameters` is JSON Schema with `required`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .turns import UnusableError
from .type_names import Schema, read_type

UNKNOWN_TYPE = "a parameter has a type that is not understood; it is declared without one, or with its outer one"
LOST_REQUIRED = "a tool requires a parameter that it does not describe; the name is kept"
_JSON_TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
_NO_DEFAULT: tuple[Any, ...] = (None, "")


def proper_tools(published: Sequence[Any], findings: list[str]) -> list[dict[str, Any]]:
    """Give the tools proper schemas; whatever else a tool says stays, and a proper tool stays as it is.

    Raises:
        UnusableError: a tool is no object or has no name.
    """
    return [_proper(tool, findings) for tool in published]


def _proper(tool: Any, findings: list[str]) -> dict[str, Any]:
    if isinstance(tool, Mapping) and isinstance(tool.get("function"), Mapping):
        return {**tool, "type": "function", "function": _proper(tool["function"], findings)}
    if not isinstance(tool, Mapping) or not isinstance(tool.get("name"), str) or not tool["name"].strip():
        raise UnusableError("a tool is no JSON object with a name")
    description = tool.get("description")
    members = {key: value for key, value in tool.items() if (key, value) != ("required", None)}
    members["description"] = description if isinstance(description, str) else ""
    members["parameters"] = _parameters(tool.get("parameters"), findings)
    order = ("name", "description", "parameters")
    return {key: members[key] for key in order} | {key: one for key, one in members.items() if key not in order}


def _parameters(published: Any, findings: list[str]) -> Schema:
    if published is None or published == []:
        published = {}
    if not isinstance(published, Mapping):
        raise UnusableError("the parameters of a tool are no JSON object")
    if not _is_schema(published):
        return _of_dictionary(published, findings)
    schema = _schema(published, findings)
    properties = schema.get("properties")
    required = schema.get("required")
    known = properties if isinstance(properties, Mapping) else {}
    names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    findings += [LOST_REQUIRED] if set(names) - set(known) else []
    return {**schema, "type": "object", "properties": dict(known), "required": names}


def _is_schema(published: Mapping[str, Any]) -> bool:
    """Tell whether this is JSON Schema, not xLAM's dictionary: parameter -> {"description", "type", "default"}."""
    if isinstance(published.get("type"), str):
        return True
    properties = published.get("properties")
    return isinstance(properties, Mapping) and not isinstance(properties.get("type"), str)


def _of_dictionary(published: Mapping[str, Any], findings: list[str]) -> Schema:
    """Read xLAM's dictionary: a parameter is required unless its type says "optional" or a default is stated."""
    properties: dict[str, Schema] = {}
    required = []
    for name, said in published.items():
        described = said if isinstance(said, Mapping) else {"type": said} if isinstance(said, str) else {}
        stated = read_type(described["type"]) if isinstance(described.get("type"), str) else None
        schema = _schema(described, findings)
        wanted = schema.pop("required", None)
        default = schema.pop("default", None)
        if default in _NO_DEFAULT and stated is not None and stated.default:
            default = stated.default[0]
        has_default = default not in _NO_DEFAULT
        if has_default or (default == "" and schema.get("type") == "string"):
            schema["default"] = default
        properties[name] = schema
        left_out = has_default or (stated is not None and stated.optional)
        if wanted if isinstance(wanted, bool) else not left_out:
            required.append(name)
    return {"type": "object", "properties": properties, "required": required}


def _schema(published: Mapping[str, Any], findings: list[str]) -> Schema:
    """Return the schema with JSON's type names, in all its depth."""
    schema = {key: value for key, value in published.items() if value is not None or key in ("default", "const")}
    name = schema.get("type")
    if isinstance(name, str) and name not in _JSON_TYPES:
        read = read_type(name)
        findings += [] if read.known else [UNKNOWN_TYPE]
        named = {key: value for key, value in read.schema.items() if key == "type" or key not in schema}
        schema = {**named, **{key: value for key, value in schema.items() if key != "type"}}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            schema[key] = _schema(schema[key], findings)
    if isinstance(schema.get("properties"), Mapping):
        schema["properties"] = {
            name: _schema(inner, findings) if isinstance(inner, Mapping) else {}
            for name, inner in schema["properties"].items()
        }
    return schema
