"""What a tool is, what a call is, and where a call stands in a text."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property

from llamafactory_ext.errors import DataError

from .values import Json, check_text, copy_flat, copy_object, json_key, same_json


class _ByValue:
    """Equality and hash by the JSON value of all fields (see `json_key`)."""

    @cached_property
    def _key(self) -> Hashable:
        return tuple(json_key(getattr(self, part.name)) for part in fields(self))  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and all(
            same_json(getattr(self, part.name), getattr(other, part.name))
            for part in fields(self)  # type: ignore[arg-type]
        )

    def __hash__(self) -> int:
        return hash(self._key)


@dataclass(frozen=True, eq=False)
class ToolCall(_ByValue):
    """A call of a tool.

    Two calls are equal if their names are and their arguments are equal JSON values: 1 equals 1.0 but not True, and
    the order of the arguments does not count. The values keep their types and order for writing.

    Attributes:
        name: the tool's name, never empty.
        arguments: JSON values by parameter name, copied at construction; read-only by agreement.
    """

    name: str
    arguments: Mapping[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_name(self.name, "tool call")
        arguments = copy_flat(self.arguments)
        if arguments is None:
            arguments = copy_object(self.arguments, f"The arguments of {_short(self.name)}")
        object.__setattr__(self, "arguments", arguments)


@dataclass(frozen=True)
class ParsedCall:
    """A call and the characters of the text that state it: `text[start:end]`, its name `text[name_start:name_end]`.

    Markers and brackets that several calls may share (`[...]`, `<tool_call>`, `Call:`) lie outside the call's span;
    the quotes around a name in JSON lie outside the name's.
    """

    call: ToolCall
    start: int
    end: int
    name_start: int
    name_end: int


@dataclass(frozen=True, eq=False)
class Tool(_ByValue):
    """A tool as a model is told of it; equal to another if all fields are equal JSON values.

    Attributes:
        name: as calls write it.
        description: for the model.
        parameters: JSON Schema of each parameter by its name, in the order of the source.
        required: parameters that a call must give; names that `parameters` lacks, a defect of some data, are kept.
        extra: what the source says beyond this (results, further schema keywords), under the source's own names.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    required: Sequence[str] = ()
    extra: Mapping[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_name(self.name, "tool")
        about = f"The tool {_short(self.name)}"
        if not isinstance(self.description, str):
            raise DataError(f"{about} has a description that is no text; write a text or nothing.")
        if not self.description.isascii():
            check_text(self.description, f"{about}: its description")
        parameters = copy_object(self.parameters, f"{about}: its parameters")
        for name, schema in parameters.items():
            if not isinstance(schema, dict):
                raise DataError(f"{about}: the schema of {name!r} is no JSON object; write one such as {{}}.")
        required = self.required
        if not isinstance(required, list | tuple) or not all(isinstance(name, str) for name in required):
            raise DataError(f"{about}: `required` is no list of parameter names; write one.")
        object.__setattr__(self, "parameters", parameters)
        about_required = f"{about}: `required`"
        object.__setattr__(self, "required", tuple(check_text(name, about_required) for name in required))
        object.__setattr__(self, "extra", copy_object(self.extra, f"{about}: its extra fields"))


def _check_name(name: object, what: str) -> None:
    if not isinstance(name, str) or not name:
        raise DataError(f"A {what} has no name: it must be a text that is not empty, not {_short(name)}.")
    if not name.isascii():
        check_text(name, f"The name of a {what}")


def _short(value: object) -> str:
    shown = ascii(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
