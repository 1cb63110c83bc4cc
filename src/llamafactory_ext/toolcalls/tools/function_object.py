"""Tools as JSON objects with a JSON Schema: OpenAI's `tools`, RoTBench, ToolEyes and BFCL.

All are `{"name", "description", "parameters": {"type", "properties", "required"}}`; OpenAI wraps this in
`{"type": "function", "function": ...}`, RoTBench and ToolEyes do not, BFCL calls some types by Python's names. Members
beyond these are kept in `Tool.extra`; those of the parameters' object under its key "parameters".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from llamafactory_ext.errors import DataError
from llamafactory_ext.toolcalls.model import Tool

from ..values import Owned
from .form import ToolFormat
from .reading import mapping, objects
from .schema import BFCL_NAMES, from_json_schema, to_json_schema

_ABSENT = "absent"  # members of the usual form that the source lacks
_WRAPPER = "wrapper"  # what OpenAI's wrapper holds beyond "type" and "function"


def read_function(data: Any, names: Mapping[str, str] | None = None, *, owned: bool = False) -> Tool:
    """Read a bare function object, whose schemas use JSON's type names or `names`.

    Args:
        data: the object.
        names: of the types, where they are not JSON's.
        owned: whether nobody else holds the object and it is within the limits, so that its schemas are not copied.
    """
    object_type = names["object"] if names else "object"
    function = mapping(data, "A function")
    outer = {"name": None, "description": "", "parameters": {}, **function}
    schema = {"type": object_type, "properties": {}, "required": [], **mapping(outer["parameters"], "Parameters")}
    if not isinstance(schema["required"], list | tuple):
        raise DataError(f'The function {outer["name"]!a} has a "required" that is no list; write a list of names.')
    absent = [key for key in ("description", "parameters") if key not in function]
    absent += [f"parameters.{key}" for key in ("type", "properties", "required") if key not in outer["parameters"]]
    inner = {key: value for key, value in schema.items() if key not in ("type", "properties", "required")}
    if schema["type"] != object_type:
        inner["type"] = schema["type"]
    extra = {key: value for key, value in function.items() if key not in ("name", "description", "parameters")}
    extra |= {"parameters": inner} if inner else {}
    extra |= {_ABSENT: absent} if absent else {}
    properties = objects(schema["properties"], "Properties")
    parameters = {name: to_json_schema(one, names) for name, one in properties.items()} if names else properties
    return Tool(
        name=outer["name"],
        description=outer["description"],
        parameters=Owned(parameters) if owned else parameters,  # type: ignore[arg-type]
        required=tuple(schema["required"]),
        extra=extra,
    )


def write_function(tool: Tool, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Write a bare function object; undoes `read_function`."""
    object_type = names["object"] if names else "object"
    extra: dict[str, Any] = dict(tool.extra)
    absent = extra.pop(_ABSENT, [])
    inner = mapping(extra.pop("parameters", {}), "Extra parameters")
    absent = [str(key) for key in absent] if isinstance(absent, list) else []
    properties = {name: from_json_schema(one, names) if names else one for name, one in tool.parameters.items()}
    schema = {"type": object_type, "properties": properties, "required": list(tool.required), **inner}
    kept = {key: value for key, value in schema.items() if f"parameters.{key}" not in absent}
    function = {"name": tool.name, "description": tool.description, "parameters": kept}
    return {key: value for key, value in function.items() if key not in absent} | extra


def _read_openai(data: Any) -> Tool:
    outer = mapping(data, "An OpenAI tool")
    if outer.get("type") != "function" or "function" not in outer:
        raise DataError(
            'An OpenAI tool must be {"type": "function", "function": {...}}; see the format "rotbench" for bare.'
        )
    tool = read_function(outer["function"])
    wrapper = {key: value for key, value in outer.items() if key not in ("type", "function")}
    if not wrapper:
        return tool
    return Tool(tool.name, tool.description, tool.parameters, tool.required, {**tool.extra, _WRAPPER: wrapper})


def _write_openai(tool: Tool) -> dict[str, Any]:
    function = write_function(tool)
    wrapper = mapping(function.pop(_WRAPPER, {}), "OpenAI's wrapper")
    return {"type": "function", "function": function, **wrapper}


OPENAI = ToolFormat("openai", _read_openai, _write_openai)
ROTBENCH = ToolFormat("rotbench", read_function, write_function)
BFCL = ToolFormat("bfcl", partial(read_function, names=BFCL_NAMES), partial(write_function, names=BFCL_NAMES))
