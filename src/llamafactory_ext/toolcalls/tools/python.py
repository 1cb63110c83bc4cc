r"""Python signatures with docstrings: TL-CodeLLaMA-2 (TL-Training, Table 13) and NexusRaven (Table 7).

`def name(base: string, day: string = None):`, then a docstring of the description and a section "Args:" with one
`base (string): The currency.` for each parameter. Required parameters come first, as in TL-Training's released data. A
parameter's further schema follows its type as JSON; lines after the first of a description are indented more deeply;
what else the form cannot hold is a last line `Extra: {...}`. NexusRaven's form ends in a fixed section on what is
returned.
"""

from __future__ import annotations

import json
import re
from functools import partial
from typing import Any

from llamafactory_ext.errors import DataError
from llamafactory_ext.toolcalls.json_text import dump
from llamafactory_ext.toolcalls.model import Tool
from llamafactory_ext.toolcalls.values import Json

from .form import ToolFormat
from .reading import mapping, text
from .schema import JSON_NAMES, from_json_schema, to_json_schema

_HEAD = re.compile(r'(?:Function:\n)?def ([^\s(]+)\((.*)\):\n    """\n')
_END = '\n    """'
_ARGS = "\n\n    Args:"
_EXTRA = re.compile(r"\n    Extra: (\{.*\})\Z")
_RETURNS = "\n\n    Returns:\n    string: The feedback from the tool."
_ARGUMENT = re.compile(r'    ([^\s("]+|"(?:[^"\\]|\\.)*") \((\w+)')
_PLAIN = re.compile(r'[^\s("]+')
_UNTYPED = "any"
_TEXT, _MORE = " " * 4, " " * 8

Schema = dict[str, Any]


def _read(data: Any, tail: str) -> Tool:
    source = text(data, "A Python signature").strip("\n")
    head = _HEAD.match(source)
    if head is None or not source.endswith(_END):
        raise DataError(
            'A Python signature begins with "def name(...):" and a docstring that ends the text; this does not.'
        )
    name, signature = head[1], head[2]
    body = source[head.end() - 1 : -len(_END)].removesuffix(tail)
    description, found, listed = body.rpartition(_ARGS)
    if not found:
        raise DataError(
            f'The docstring of {name!a} has no section "Args:"; write one, empty if there are no arguments.'
        )
    beyond: dict[str, Any] = {}
    if last := _EXTRA.search(listed):
        beyond, listed = _load(last[1], name), listed[: last.start()]
    parameters: dict[str, Schema] = {}
    required: list[str] = []
    at = 0
    for block in _blocks(listed.removeprefix("\n"), name):
        key, schema, annotated = _read_argument(block, name)
        parameters[key] = schema
        at = signature.find(annotated, at) + len(annotated)
        required += [] if signature.startswith(" = None", at) else [key]
    extra = mapping(beyond.get("extra", {}), "Extra")
    return Tool(name, _unindent(description[1:], _TEXT), parameters, beyond.get("required", required), extra)


def _blocks(listed: str, function: str) -> list[str]:
    """Return the lines of each argument."""
    blocks: list[str] = []
    for line in listed.split("\n") if listed else []:
        if _ARGUMENT.match(line):
            blocks.append(line)
        elif blocks:
            blocks[-1] += f"\n{line}"
        else:
            raise DataError(f"The docstring of {function!a} has a line that is no argument: {line[:40]!a}.")
    return blocks


def _read_argument(block: str, function: str) -> tuple[str, Schema, str]:
    """Return name, schema, and how the signature writes both."""
    head = _ARGUMENT.match(block)
    assert head is not None
    spelled, json_type = head[1], head[2]
    key = _load(spelled, function) if spelled.startswith('"') else spelled
    schema: Schema = {} if json_type == _UNTYPED else {"type": json_type}
    end = head.end()
    if block.startswith(", {", end):
        try:
            more, end = json.JSONDecoder().raw_decode(block, end + 2)
        except (ValueError, RecursionError):
            raise DataError(f"The docstring of {function!a} has malformed JSON after the type of {key!a}.") from None
        schema |= more
    if block.startswith("): ", end):
        first, line_break, others = block[end + 3 :].partition("\n")
        schema["description"] = first + line_break + _unindent(others, _MORE)
    elif block[end:] != ")":
        raise DataError(f'The docstring of {function!a} must write {key!a} as "name (type): description".')
    return key, to_json_schema(schema, JSON_NAMES), f"{spelled}: {json_type}"


def _write(tool: Tool, tail: str) -> str:
    required = [name for name in tool.required if name in tool.parameters]
    names = list(dict.fromkeys([*required, *tool.parameters]))
    arguments = {name: _write_argument(name, tool.parameters[name]) for name in names}
    signature = [annotated + ("" if name in required else " = None") for name, (annotated, _) in arguments.items()]
    lines = "".join(f"\n{line}" for _, line in arguments.values())
    description = f"\n{_indent(tool.description, _TEXT)}"
    beyond: dict[str, Json] = {}
    if list(tool.required) != [name for name in names if name in required]:
        beyond["required"] = list(tool.required)
    if tool.extra:
        beyond["extra"] = dict(tool.extra)
    extra = f"\n{_TEXT}Extra: {dump(beyond)}" if beyond else ""
    docstring = f'{_TEXT}"""{description}{_ARGS}{lines}{extra}{tail}{_END}'
    return f"Function:\ndef {tool.name}({', '.join(signature)}):\n{docstring}"


def _write_argument(name: str, schema: Any) -> tuple[str, str]:
    """Return the argument in the signature, and in the docstring."""
    more = from_json_schema(schema, JSON_NAMES)
    json_type, description = more.get("type"), more.get("description")
    spelled = name if _PLAIN.fullmatch(name) else dump(name)
    if isinstance(json_type, str) and json_type != _UNTYPED and re.fullmatch(r"\w+", json_type):
        del more["type"]
    else:
        json_type = _UNTYPED
    if isinstance(description, str):
        del more["description"]
    kind = f"{json_type}, {dump(more)}" if more else json_type
    about = f": {_indent(description, _MORE).removeprefix(_MORE)}" if isinstance(description, str) else ""
    return f"{spelled}: {json_type}", f"{_TEXT}{spelled} ({kind}){about}"


def _indent(lines: str, by: str) -> str:
    return "\n".join(by + line if line else "" for line in lines.split("\n"))


def _unindent(lines: str, by: str) -> str:
    return "\n".join(line.removeprefix(by) for line in lines.split("\n"))


def _load(source: str, function: str) -> Any:
    try:
        return json.loads(source)
    except (ValueError, RecursionError):
        raise DataError(f"The docstring of {function!a} has malformed JSON: {source[:40]!a}.") from None


FORMAT = ToolFormat("python", partial(_read, tail=""), partial(_write, tail=""))
NEXUSRAVEN = ToolFormat("nexusraven", partial(_read, tail=_RETURNS), partial(_write, tail=_RETURNS))
