"""What a tool takes, and the checks that its arguments pass before it runs.

One table says for each parameter what it is; one function reads it. So every tool refuses in the same words, which
fall into the categories of errors of TL-Training (arXiv:2412.15495, Table 14).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..toolcalls import Tool
from ..toolcalls.feedback.categories import (
    OTHERS,
    PARAMETER_HALLUCINATION,
    PARAMETER_MISSING,
    TOOL_CALL_FAILURE,
)
from .world import World

TIME, DATE = "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"
_TIMES = (TIME, "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M")
_ADDRESS = re.compile(r"[A-Za-z0-9_.+-]{1,64}@[A-Za-z0-9-]{1,64}\.[A-Za-z0-9.-]{1,64}")
_LONGEST = 10_000  # characters of a text argument
_MOST_DIGITS = 18


class ToolError(Exception):
    """A call without a result.

    Args:
        category: of TL-Training.
        text: what the model reads.
    """

    def __init__(self, category: str, text: str) -> None:
        super().__init__(text)
        self.category, self.text = category, text


def refusal(text: str) -> ToolError:
    """Return the error of something that is not there, or in the way."""
    return ToolError(OTHERS, text)


def value_error(text: str) -> ToolError:
    """Return the error of a value out of its range."""
    return ToolError(TOOL_CALL_FAILURE, f"ValueError: {text}")


def type_error(text: str) -> ToolError:
    """Return the error of a value of another type."""
    return ToolError(TOOL_CALL_FAILURE, f"TypeError: {text}")


@dataclass(frozen=True)
class Param:
    """One parameter.

    Attributes:
        name: as calls write it.
        kind: text, time, date, day_time (a date or a time), integer, number, flag (true or false, as a text or not),
            choice, addresses, texts (one or a list).
        about: for the model.
        needed: a call must give it.
        default: taken where a call does not.
        low: least number.
        high: greatest number.
        choices: of a choice, in lower case.
        may_be_empty: a text without letters is one.
    """

    name: str
    kind: str
    about: str
    needed: bool = True
    default: Any = None
    low: float = -math.inf
    high: float = math.inf
    choices: tuple[str, ...] = ()
    may_be_empty: bool = False

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema that a model is shown."""
        kinds = {"integer": "integer", "number": "number"}
        shown: dict[str, Any] = {"type": kinds.get(self.kind, "string"), "description": self.about}
        if self.kind in ("addresses", "texts"):
            shown = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}], **shown}
            del shown["type"]
        if self.choices:
            shown["enum"] = list(self.choices)
        return shown


@dataclass(frozen=True)
class ToolSpec:
    """One tool.

    Attributes:
        name: as calls write it.
        domain: of the preferences that belong to it; "" for none.
        about: for the model.
        params: in order.
        run: takes a world, the time and checked arguments; returns the result and the world afterwards.
        mutates: it changes something, so that its successful calls are effects.
    """

    name: str
    domain: str
    about: str
    params: tuple[Param, ...]
    run: Callable[[World, datetime, Mapping[str, Any]], tuple[Any, World]]
    mutates: bool = False

    @property
    def tool(self) -> Tool:
        """The tool as a model is told of it."""
        parameters = {param.name: param.schema() for param in self.params}
        return Tool(self.name, self.about, parameters, [param.name for param in self.params if param.needed])

    def config(self) -> dict[str, Any]:
        """Return the tool in OpenAI's form."""
        tool = self.tool
        parameters = {"type": "object", "properties": dict(tool.parameters), "required": list(tool.required)}
        function = {"name": self.name, "description": self.about, "parameters": parameters}
        return {"type": "function", "function": function}

    def checked(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return all arguments in the form in which `run` takes them; absent ones have their defaults.

        Raises:
            ToolError: the first that is wrong.
        """
        known = {param.name for param in self.params}
        if unknown := [name for name in arguments if name not in known]:
            names = f"the parameters are {', '.join(known)}" if known else "there are none"
            raise ToolError(PARAMETER_HALLUCINATION, f"unexpected parameter: {unknown[0][:60]}; {names}")
        missing = [param.name for param in self.params if param.needed and param.name not in arguments]
        if missing:
            names = " and ".join(repr(name) for name in missing)
            count = f"{len(missing)} required argument{'s' * (len(missing) > 1)}"
            raise ToolError(PARAMETER_MISSING, f"missing {count}: {names}")
        return {
            param.name: read(param, arguments[param.name])
            if arguments.get(param.name) is not None or param.needed
            else param.default
            for param in self.params
        }


def read(param: Param, value: Any) -> Any:
    """Return an argument as its tool takes it.

    Raises:
        ToolError: it is of another type, or out of range.
    """
    return _READERS[param.kind](param, value)


def _text(param: Param, value: Any) -> str:
    if not isinstance(value, str):
        raise type_error(f"{param.name} must be a text, not {_kind(value)}")
    if len(value) > _LONGEST:
        raise value_error(f"{param.name} is longer than {_LONGEST} characters")
    if not value.strip() and not param.may_be_empty:
        raise value_error(f"{param.name} must not be empty")
    return value.strip()


def _time(param: Param, value: Any) -> str:
    text = _text(param, value)
    for form in _TIMES:
        if (moment := _moment(text, form)) is not None:
            return moment.strftime(TIME)
    raise value_error(f"{param.name} must be a time such as 2024-05-28 15:30:00, not {text[:40]!r}")


def _date(param: Param, value: Any) -> str:
    text = _text(param, value)
    for form in (DATE, *_TIMES):
        if (moment := _moment(text, form)) is not None:
            return moment.strftime(DATE)
    raise value_error(f"{param.name} must be a date such as 2024-05-28, not {text[:40]!r}")


def _day_time(param: Param, value: Any) -> str:
    text = _text(param, value)
    return _date(param, value) if _moment(text, DATE) is not None else _time(param, value)


def _moment(text: str, form: str) -> datetime | None:
    try:
        moment = datetime.strptime(text, form)
    except ValueError:
        return None
    return moment if moment.year >= 1900 else None


def _number(param: Param, value: Any) -> float | int:
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,9}(\.\d{1,9})?", value.strip()):
        value = float(value) if "." in value else int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise type_error(f"{param.name} must be a number, not {_kind(value)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise value_error(f"{param.name} must be a finite number")
    if not param.low <= value <= param.high:
        raise value_error(f"{param.name} must lie between {param.low:g} and {param.high:g}, not {_short(value)}")
    return value


def _integer(param: Param, value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(rf"-?\d{{1,{_MOST_DIGITS}}}", value.strip()):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise type_error(f"{param.name} must be an integer, not {_kind(value)}")
    return int(_number(param, value))


def _flag(param: Param, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise type_error(f'{param.name} must be "True" or "False", not {_kind(value)}')


def _choice(param: Param, value: Any) -> str:
    text = _text(param, value).lower()
    if text not in param.choices:
        raise value_error(f"{param.name} must be one of {', '.join(param.choices)}, not {text[:40]!r}")
    return text


def _addresses(param: Param, value: Any) -> list[str]:
    found = _texts(param, value)
    for address in found:
        if not _ADDRESS.fullmatch(address):
            raise value_error(f"{param.name}: {address[:60]!r} is no mail address")
    return found


def _texts(param: Param, value: Any) -> list[str]:
    given = value if isinstance(value, list) else [value]
    if not given or len(given) > 20:
        raise value_error(f"{param.name} must hold one to twenty texts")
    return [_text(param, one) for one in given]


_READERS: Mapping[str, Callable[[Param, Any], Any]] = {
    "text": _text,
    "time": _time,
    "date": _date,
    "day_time": _day_time,
    "number": _number,
    "integer": _integer,
    "flag": _flag,
    "choice": _choice,
    "addresses": _addresses,
    "texts": _texts,
}


def _short(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) or abs(value) < 10**_MOST_DIGITS else "a number of many digits"


def _kind(value: Any) -> str:
    kinds = {bool: "true or false", str: "a text", list: "a list", dict: "an object", type(None): "null"}
    return kinds.get(type(value), "a number")


def parse_time(text: Any) -> datetime | None:
    """Return the time of a record; None where it holds none."""
    if not isinstance(text, str):
        return None
    for form in (*_TIMES, DATE):
        if (moment := _moment(text.strip(), form)) is not None:
            return moment
    return None
