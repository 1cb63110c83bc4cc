"""Python's type names in published tools, as JSON Schema: "List[int], optional" is an array of integers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from llamafactory_ext.errors import CallParseError

from .values import whole_value

Schema = dict[str, Any]
_KINDS = {
    "string": ("str", "string", "text", "char", "bytes", "date", "datetime", "time", "uuid", "path", "url", "uri"),
    "integer": ("int", "integer", "long"),
    "number": ("float", "number", "double", "decimal", "numeric"),
    "boolean": ("bool", "boolean"),
    "array": ("list", "array", "tuple", "set", "frozenset", "sequence", "iterable", "collection", "ndarray"),
    "object": ("dict", "object", "mapping", "json", "map", "hashmap", "ordereddict", "defaultdict"),
    "null": ("none", "null", "nonetype"),
}
_TYPES = {name: kind for kind, names in _KINDS.items() for name in names}
_ANYTHING = ("any", "")
_TOKEN = re.compile(r"""\s*(?:([A-Za-z_][\w.]*)|([\[\](){}|,<>])|("[^"]*"|'[^']*'|-?\d+(?:\.\d+)?|\.\.\.))""")
_DEFAULT = re.compile(r"defaults?(?:\s+(?:to|is|value))?\s*[=:]?\s*(.*)", re.IGNORECASE | re.DOTALL)
_OPTIONAL = re.compile(r"(?:^|\s)\(?optional\)?$", re.IGNORECASE)
_CLOSING = {"[": "]", "(": ")", "{": "}", "<": ">"}
_MAX_DEPTH = 32


@dataclass(frozen=True)
class TypeName:
    """What a published type says.

    Attributes:
        schema: JSON Schema of the values; {} where any value may stand, or the name is unknown.
        optional: whether it says that the parameter may be left out.
        default: (value,) where it names one.
        known: whether every part of it is understood.
    """

    schema: Schema
    optional: bool = False
    default: tuple[Any, ...] = ()
    known: bool = True


def read_type(text: str) -> TypeName:
    """Read a type such as "str, optional", "List[int]", "Union[int, float]", "int, default=3" or "int or str"."""
    first, *rest = _split(text.strip())
    if first.endswith("?"):
        first, rest = first[:-1], [*rest, "optional"]
    bare = _OPTIONAL.sub("", first)
    optional = bare != first
    default: tuple[Any, ...] = ()
    for flag in rest:
        optional = optional or "optional" in flag.lower()
        named = _DEFAULT.search(flag)
        if named is not None:
            optional, default = True, (_value(named[1]),)
    reader = _Reader(bare.strip())
    schema = reader.union(0)
    reader.ok = reader.ok and not reader.rest()
    optional = optional or re.match(r"(?:typing\.)?optional\[", bare.strip(), re.IGNORECASE) is not None
    if not reader.ok:
        return TypeName(_outermost(schema), optional, default, known=False)
    return TypeName(schema, optional, default)


def _outermost(schema: Schema) -> Schema:
    return {"type": schema["type"]} if isinstance(schema.get("type"), str) else {}


def _value(text: str) -> Any:
    text = text.strip().rstrip(")").strip()
    try:
        return whole_value(text)
    except CallParseError:
        return text


def _split(text: str) -> list[str]:
    """Return the parts between commas that stand outside of all brackets."""
    parts, depth, start = [], 0, 0
    for index, char in enumerate(text):
        depth += (char in "[({<") - (char in "])}>")
        if char in ",;" and depth <= 0:
            parts.append(text[start:index].strip())
            start = index + 1
    return [*parts, text[start:].strip()]


class _Reader:
    """Reads one type from left to right; what is not understood stands for any value, and `ok` turns false."""

    def __init__(self, text: str) -> None:
        self.ok = True
        self._text = text
        self._pos = 0

    def rest(self) -> str:
        """Return what is left to read."""
        return self._text[self._pos :].strip()

    def union(self, depth: int) -> Schema:
        """Return one type, or several with "|" or "or" between them."""
        members = [self._one(depth)]
        while (token := self._peek()) and token.lower() in ("|", "or"):
            self._take()
            members.append(self._one(depth))
        return _either(members)

    def _one(self, depth: int) -> Schema:
        token = self._take()
        name = token.rpartition(".")[2].lower()
        if not token or depth > _MAX_DEPTH or not re.match(r"[a-z_]", name):
            self.ok = self.ok and not token and depth == 0 and not self._text
            return {}
        if name == "of" or self._peek().lower() == "of":  # "list of str"
            self._take()
            inner = self.union(depth + 1)
            return self._of(name, [inner])
        opening = self._peek()
        if opening not in ("[", "<", "("):
            return self._of(name, [])
        self._take()
        members = self._literals(opening) if name in ("literal", "enum") else self._members(opening, depth + 1)
        return self._of(name, members)

    def _members(self, opening: str, depth: int) -> list[Schema]:
        members: list[Schema] = []
        if depth > _MAX_DEPTH:
            self.ok, self._pos = False, len(self._text)
        while (part := self._peek()) != _CLOSING[opening]:
            if not part:
                self.ok = False
                return members
            if part == "[":  # the arguments of a Callable
                self._take()
                self._members("[", depth + 1)
            elif part == "...":
                self._take()
            else:
                members.append(self.union(depth))
            if self._peek() == ",":
                self._take()
        self._take()
        return members

    def _literals(self, opening: str) -> list[Schema]:
        values = []
        while (part := self._take()) != _CLOSING[opening]:
            if not part:
                self.ok = False
                break
            if part != ",":
                values.append(_value(part))
        return [{"enum": values}]

    def _of(self, name: str, members: list[Schema]) -> Schema:
        if name == "optional":
            return members[0] if members else {}
        if name == "union":
            return _either(members)
        if name in ("literal", "enum"):
            return members[0] if members else {"type": "string"}
        if name in ("callable", "function"):
            return {"type": "string"}
        if name in _ANYTHING:
            return {}
        kind = _TYPES.get(name)
        if kind is None:
            self.ok = False
            return {}
        if kind == "array" and members:
            sized = {"minItems": len(members), "maxItems": len(members)} if len(members) > 1 else {}
            return {"type": kind, "items": _either(members), **sized}
        if kind == "object" and len(members) == 2 and members[1]:
            return {"type": kind, "additionalProperties": members[1]}
        return {"type": kind}

    def _peek(self) -> str:
        match = _TOKEN.match(self._text, self._pos)
        return match[0].strip() if match is not None else ""

    def _take(self) -> str:
        match = _TOKEN.match(self._text, self._pos)
        if match is None:
            return ""
        self._pos = match.end()
        return match[0].strip()


def _either(members: list[Schema]) -> Schema:
    """Return a schema for values of any of these; an integer is a number already."""
    different = [member for index, member in enumerate(members) if member not in members[:index]]
    if {} in different:
        return {}
    if {"type": "number"} in different:
        different = [member for member in different if member != {"type": "integer"}]
    if len(different) == 1:
        return different[0]
    if all(member.keys() == {"type"} and isinstance(member["type"], str) for member in different):
        return {"type": [member["type"] for member in different]}
    return {"anyOf": different}
