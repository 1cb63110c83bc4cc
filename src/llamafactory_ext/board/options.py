"""Our options as a panel shows them, read off the dataclasses that declare them: one source for YAML and Board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

Kind = Literal["switch", "choice", "choices", "whole", "number", "text"]


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        name: as in the YAML.
        kind: how it is entered: yes or no, one of a few words, some of a few words, a number, or text.
        default: the declared default.
        choices: the words, for the kinds that have any.
        help: what the command's `--help` says, without the method's name in front.
    """

    name: str
    kind: Kind
    default: Any
    choices: tuple[str, ...]
    help: str

    def value(self, entered: Any) -> Any:
        """Return what a command or a YAML file gets for what stands in the field; None leaves the option out."""
        if entered is None or entered == "":
            return None
        if self.kind == "choices":
            return [word for word in self.choices if word in entered] or None
        if self.kind == "whole" and isinstance(entered, float) and entered.is_integer():
            return int(entered)
        return entered.strip() or None if isinstance(entered, str) else entered


def options_of(group: type) -> tuple[Option, ...]:
    """Return the options that a dataclass declares, in its order.

    Args:
        group: its fields have real types: bool, int, float, str, Literal, a list of words, or any of these or None.
    """
    types = get_type_hints(group)
    return tuple(_option(declared, types[declared.name]) for declared in fields(group))


def entered_values(options: Sequence[Option], entered: Mapping[str, Any]) -> dict[str, Any]:
    """Return option name to its value for a command, without those left empty."""
    values = {option.name: option.value(entered[option.name]) for option in options}
    return {name: value for name, value in values.items() if value is not None}


def _option(declared: Field, annotation: Any) -> Option:
    default = declared.default if declared.default_factory is MISSING else declared.default_factory()
    text = str(declared.metadata.get("help", ""))
    method, colon, rest = text.partition(": ")
    help_text = rest if colon and method.isupper() else text
    kind, choices = _kind(annotation, default)
    return Option(declared.name, kind, default, choices, help_text[:1].upper() + help_text[1:])


def _kind(annotation: Any, default: Any) -> tuple[Kind, tuple[str, ...]]:
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not NoneType)
    if get_origin(annotation) is Literal:
        return "choice", get_args(annotation)
    if get_origin(annotation) is list:  # the default names them all
        return "choices", tuple(default)
    kinds: dict[Any, Kind] = {bool: "switch", int: "whole", float: "number", str: "text"}
    return kinds[annotation], ()
