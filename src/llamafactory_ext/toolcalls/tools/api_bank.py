"""API-Bank's descriptions: one JSON object, given as data or as a line of a prompt.

Levels 1 and 2 write `{"name", "description", "input_parameters", "output_parameters"}`, level 3 writes `{"apiCode",
"description", "parameters", "response"}`; results are kept in `Tool.extra`, and tell the two apart. Every parameter is
required (the official evaluation answers a call that lacks one with MISS_INPUT_ARGUMENT).
"""

from __future__ import annotations

from typing import Any

from llamafactory_ext.errors import DataError
from llamafactory_ext.toolcalls.model import Tool

from .form import ToolFormat
from .reading import mapping, objects
from .schema import API_BANK_NAMES, from_json_schema, to_json_schema

_RESULT = {"apiCode": "response", "name": "output_parameters"}
_PARAMETERS = {"apiCode": "parameters", "name": "input_parameters"}
_REQUIRED = "required"  # ours, for tools of other sources that have optional parameters
_EXTRA = "extra"  # ours, for what other sources say beyond API-Bank's members


def _read(data: Any) -> Tool:
    described = dict(mapping(data, "An API-Bank description"))
    name_key = "apiCode" if "apiCode" in described else "name"
    try:
        name, description = described.pop(name_key), described.pop("description")
        properties = objects(described.pop(_PARAMETERS[name_key]), "Parameters")
    except KeyError as error:
        raise DataError(f"An API-Bank description lacks {error}; it has {', '.join(map(ascii, described))}.") from None
    required = described.pop(_REQUIRED, list(properties))
    kept = mapping(described.pop(_EXTRA, {}), "The extra members of an API-Bank description")
    return Tool(
        name=name,
        description=description,
        parameters={key: to_json_schema(schema, API_BANK_NAMES) for key, schema in properties.items()},
        required=required,
        extra={**described, **kept},
    )


def _write(tool: Tool) -> dict[str, Any]:
    name_key = "apiCode" if _RESULT["apiCode"] in tool.extra else "name"
    result = {key: value for key, value in tool.extra.items() if key == _RESULT[name_key]}
    others = {key: value for key, value in tool.extra.items() if key not in result}
    written = {
        name_key: tool.name,
        "description": tool.description,
        _PARAMETERS[name_key]: {
            name: from_json_schema(schema, API_BANK_NAMES) for name, schema in tool.parameters.items()
        },
        **result,
    }
    if tuple(tool.required) != tuple(tool.parameters):
        written[_REQUIRED] = list(tool.required)
    return {**written, **({_EXTRA: others} if others else {})}


FORMAT = ToolFormat("api_bank", _read, _write)
