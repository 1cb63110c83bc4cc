"""Tools that stand as JSON in the text of a prompt, as in API-Bank's, instead of in a column of their own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ..errors import DataError
from .model import Tool
from .tools import read_tool
from .tools.function_object import read_function
from .values import MAX_DEPTH, MAX_VALUES

_MOST_FAILURES = 300  # starts of no JSON in one text; each may cost a look at all of it
_SCHEMA_KEYS = ("input_schema", "inputSchema")  # Anthropic's and MCP's words for the parameters
_EMPTY: Mapping[str, Callable[[], Any]] = {"properties": dict, "required": list}
_NOTHING: tuple[Any, ...] = ([], {}, "", False)
# In JSON text: what may be no finite number, a long integer, or half of a character.
_UNUSUAL = re.compile(r"NaN|Infinity|[0-9.][eE]|[0-9]{400}|\\u[dD]")
_START = re.compile(r"(?:\A|[\n:,])[ \t]*([{\[])")


def described_tools(texts: Iterable[str]) -> tuple[Tool, ...]:
    """Return the tools that stand as JSON objects, or lists of them, in texts; the first of each name."""
    found: dict[str, Tool] = {}
    for text in texts:
        for value in _objects(text):
            try:
                tool = described_tool(value)
            except DataError:
                continue
            found.setdefault(tool.name, tool)
    return tuple(found.values())


def read_tools(column: Any) -> tuple[Tool, ...]:
    """Return the tools of a record's `tools` column: a list of them, one alone, or the JSON text of either.

    Raises:
        DataError: something else; the message names what is wrong.
    """
    value, owned = column, False
    if isinstance(column, str):
        try:
            value = json.loads(column) if column.strip() else None
        except (ValueError, RecursionError) as error:
            raise DataError(f"they are no JSON ({error})") from None
        owned = len(column) < MAX_VALUES and column.count("{") + column.count("[") <= MAX_DEPTH
        owned = owned and _UNUSUAL.search(column) is None
    listed = [] if value is None else value if isinstance(value, list | tuple) else [value]
    return tuple(described_tool(item, owned=owned) for item in listed)


def described_tool(value: Any, *, owned: bool = False) -> Tool:
    """Return a tool in whichever of OpenAI's, Anthropic's, MCP's, API-Bank's and RoTBench's forms it is written.

    Args:
        value: the tool.
        owned: whether nobody else holds the value and it is within the limits of JSON, so that it is not copied.

    Raises:
        DataError: it is none.
    """
    described = _stated(value) if isinstance(value, Mapping) else {}
    function = described.get("function")
    if isinstance(function, Mapping):
        wrapped = {**described, "type": "function", "function": _with_schema(_stated(function))}
        return read_tool(wrapped, "openai")
    if "apiCode" in described or "input_parameters" in described:
        return read_tool(value, "api_bank")
    if "name" not in described:
        raise DataError("a tool needs a name")
    if described.get("type") == "function":  # OpenAI's Responses API has no wrapper
        del described["type"]
    return read_function(_with_schema(described), owned=owned)


def _stated(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members that say something: null stands for what is left out."""
    return {name: value for name, value in members.items() if value is not None}


def _with_schema(function: dict[str, Any]) -> dict[str, Any]:
    """Return a function whose parameters are a JSON Schema, where other words or empty values stand for one."""
    for other in _SCHEMA_KEYS:
        if isinstance(function.get(other), Mapping) and "parameters" not in function:
            function["parameters"] = function.pop(other)
    schema = function.get("parameters")
    if schema in ("", [], {}):
        function["parameters"] = {}
    elif isinstance(schema, Mapping):
        schema = _stated(schema)
        schema |= {key: empty() for key, empty in _EMPTY.items() if key in schema and schema[key] in _NOTHING}
        if isinstance(schema.get("properties"), Mapping):
            schema["properties"] = {
                name: {} if inner is None else {"type": inner} if isinstance(inner, str) else inner
                for name, inner in schema["properties"].items()
            }
        function["parameters"] = schema
    return function


def _objects(text: str) -> Iterator[Any]:
    """Return JSON objects, and the members of JSON lists, that begin a line or come after a colon or a comma."""
    decoder = json.JSONDecoder()
    at = failures = 0
    while failures < _MOST_FAILURES and (found := _START.search(text, at)) is not None:
        try:
            value, at = decoder.raw_decode(text, found.start(1))
        except (ValueError, RecursionError):
            at = found.end()
            failures += 1
            continue
        yield from value if isinstance(value, list) else [value]
