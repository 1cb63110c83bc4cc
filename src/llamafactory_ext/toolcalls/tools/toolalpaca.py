r"""ToolAlpaca's documentation of one function, as its prompts show it.

    getFruitByName: Get a fruit information by its name
    Parameters: {"name": "Required. string. The fruit."}
    Output: Success.

The published file has the name as key and the rest as value of "Function_Description". What follows the parameters is
kept in `Tool.extra` as "Output". A parameter with more than a type and a description is written as
`{"required": true, "schema": {...}}`, and what the form cannot hold as a last line `Extra: {...}`.
"""

from __future__ import annotations

import json
import re
from typing import Any

from llamafactory_ext.errors import DataError
from llamafactory_ext.toolcalls.json_text import dump
from llamafactory_ext.toolcalls.model import Tool
from llamafactory_ext.toolcalls.values import Json

from .form import ToolFormat
from .reading import mapping, text
from .schema import JSON_NAMES, from_json_schema, to_json_schema

_NAME = re.compile(r"([^:\n]+): ?")
_PARAMETERS = re.compile(r"^Parameters: (\{.*\})$", re.MULTILINE)
_EXTRA = re.compile(r"\nExtra: (\{.*\})\Z")
_PARAMETER = re.compile(r"(Required\. )?([^\s.]+)\. (.*)", re.DOTALL)
_OUTPUT = "Output"
_NO_PARAMETERS: dict[str, Json] = {"absent": ["Parameters"]}  # one published function lacks the line


def _read(data: Any) -> Tool:
    documentation = text(data, "ToolAlpaca documentation")
    name = _NAME.match(documentation)
    if name is None:
        raise DataError('ToolAlpaca documentation begins with "name: description"; this does not.')
    rest = documentation[name.end() :]
    listed = _PARAMETERS.search(rest)
    if listed is None:
        return Tool(name[1], rest, extra=_NO_PARAMETERS)
    parameters, required = {}, []
    for key, value in _load(listed[1], name[1]).items():
        parameters[key], is_required = _read_parameter(value)
        required += [key] if is_required else []
    after = rest[listed.end() :]
    last = _EXTRA.search(after)
    beyond = _load(last[1], name[1]) if last else {}
    after = after[: last.start()] if last else after
    extra = beyond.get("extra", {})
    return Tool(
        name[1],
        beyond.get("description", rest[: listed.start()].removesuffix("\n")),
        parameters,
        beyond.get("required", required),
        {**mapping(extra, "Extra"), **({_OUTPUT: after.removeprefix("\n")} if after else {})},
    )


def _read_parameter(value: Any) -> tuple[dict[str, Any], bool]:
    if not isinstance(value, str):
        whole = mapping(value, "A parameter")
        return dict(mapping(whole.get("schema"), "A parameter's schema")), whole.get("required") is True
    simple = _PARAMETER.fullmatch(value)
    if simple is None:
        return {"description": value}, False
    return to_json_schema({"type": simple[2], "description": simple[3]}, JSON_NAMES), simple[1] is not None


def _write(tool: Tool) -> str:
    if tool.extra == _NO_PARAMETERS and not tool.parameters and not tool.required:
        return f"{tool.name}: {tool.description}"
    required = [name for name in tool.parameters if name in tool.required]
    parameters = {name: _write_parameter(schema, name in required) for name, schema in tool.parameters.items()}
    head = f"{tool.name}: {tool.description}" + ("\n" if tool.description else "")
    output = tool.extra.get(_OUTPUT)
    lines = f"Parameters: {dump(parameters)}" + (f"\n{output}" if isinstance(output, str) else "")
    if _NAME.match(head) is None or _read(head + lines) == tool:
        return head + lines
    beyond: dict[str, Any] = {"description": tool.description, "required": list(tool.required)}
    return f"{tool.name}: Parameters: {dump(parameters)}\nExtra: {dump({**beyond, 'extra': tool.extra})}"


def _write_parameter(schema: Any, required: bool) -> Any:
    own = from_json_schema(schema, JSON_NAMES)
    simple = f"{'Required. ' if required else ''}{own.get('type', '')}. {own.get('description', '')}"
    for value in (simple, own.get("description")):
        if isinstance(value, str) and _read_parameter(value) == (schema, required):
            return value
    return {"required": required, "schema": schema}


def _load(source: str, function: str) -> Any:
    try:
        return json.loads(source)
    except (ValueError, RecursionError):
        raise DataError(f"The ToolAlpaca documentation of {function!a} has malformed JSON: {source[:40]!a}.") from None


FORMAT = ToolFormat("toolalpaca", _read, _write)
