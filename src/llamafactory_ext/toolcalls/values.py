"""JSON values: copied with limits, and compared as JSON compares them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import TypeAlias

from llamafactory_ext.errors import DataError

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

MAX_DEPTH = 64
MAX_VALUES = 50_000
_FEW, _SMALL = 100, 1 << 62  # of `copy_flat`
_MAX_INT = 10**4000  # Python refuses to write integers of more than 4,300 digits


class Owned(dict[str, "Json"]):
    """A JSON object within the limits that nobody else holds, so that it need not be copied."""


def copy_json(value: object, what: str) -> Json:
    """Return a deep copy in plain Python (tuples become lists).

    Raises:
        DataError: no JSON value, or one beyond the limits; `what` begins the message.
    """
    return _copy(value, what, 0, [MAX_VALUES])


def copy_object(value: object, what: str) -> dict[str, Json]:
    """Return a deep copy of a JSON object; raise DataError for anything else."""
    if type(value) is Owned:
        return value
    copy = copy_json(value, what)
    if not isinstance(copy, dict):
        raise DataError(f"{what} is no JSON object but {type(value).__name__}; give names and values.")
    return copy


def copy_flat(value: object) -> dict[str, Json] | None:
    """Return a copy of an object of few plain members, as most arguments are; None leaves it to `copy_object`."""
    if type(value) is not dict or len(value) > _FEW:
        return None
    for name, item in value.items():
        if type(name) is not str or not name.isascii():
            return None
        kind = type(item)
        if kind is str:
            if not item.isascii():
                return None
        elif kind is int:
            if not -_SMALL < item < _SMALL:
                return None
        elif kind is not bool and item is not None and not (kind is float and math.isfinite(item)):
            return None
    return dict(value)


def check_text(text: str, what: str) -> str:
    """Return the text itself; raise DataError if it cannot be written as UTF-8."""
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise DataError(f"{what} holds lone surrogates, which UTF-8 cannot write; remove them.") from None
    return text


def _copy(value: object, what: str, depth: int, left: list[int]) -> Json:
    """Return a copy of a value, and of as many more as are left; texts are most of them and come first."""
    left[0] -= 1
    if left[0] < 0:
        raise DataError(f"{what} holds more than {MAX_VALUES} values; shorten it.")
    if isinstance(value, str):
        return value if type(value) is str and value.isascii() else check_text(str(value), what)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _copy_number(value, what)
    if depth == MAX_DEPTH:
        raise DataError(f"{what} is nested more than {MAX_DEPTH} deep; flatten it.")
    if isinstance(value, list | tuple):
        return [_copy(item, what, depth + 1, left) for item in value]
    if isinstance(value, dict | Mapping):  # a dict first: to look for a Mapping takes long
        copy: dict[str, Json] = {}
        for name, item in value.items():
            copied = name if type(name) is str and name.isascii() else _copy_key(name, what)
            if type(item) is str and left[0] > 0 and item.isascii():
                left[0] -= 1
                copy[copied] = item
            else:
                copy[copied] = _copy(item, what, depth + 1, left)
        return copy
    raise DataError(f"{what} holds {type(value).__name__}, which is no JSON value; convert it.")


def _copy_number(value: int | float, what: str) -> int | float:
    if isinstance(value, int):
        if abs(value) >= _MAX_INT:
            raise DataError(f"{what} holds an integer of more than 4,000 digits; write it as a string.")
        return int(value)
    if not math.isfinite(value):
        raise DataError(f"{what} holds {value}, which JSON cannot write; use null or a string.")
    return float(value)


def _copy_key(name: object, what: str) -> str:
    if not isinstance(name, str):
        raise DataError(f"{what} has the key {name!r}, which is no string; JSON objects need strings.")
    return check_text(str(name), what)


def json_key(value: object) -> Hashable:
    """Return a hashable stand-in that is equal exactly for equal JSON values.

    Numbers are compared by value, as in JSON Schema: 1 equals 1.0. True is no number and differs from 1. The order of
    an object's members does not count, that of a list's items does.
    """
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list | tuple):
        return ("list", *map(json_key, value))
    if isinstance(value, Mapping):
        return frozenset((name, json_key(item)) for name, item in value.items())
    assert isinstance(value, Hashable)
    return value


def same_json(one: object, other: object) -> bool:
    """Tell whether two JSON values are equal, as `json_key` compares them."""
    if isinstance(one, str) or one is None:
        return one == other
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping):
        if not isinstance(other, Mapping) or one.keys() != other.keys():
            return False
        return all(same_json(value, other[name]) for name, value in one.items())
    if isinstance(one, list | tuple):
        if not isinstance(other, list | tuple) or len(one) != len(other):
            return False
        return all(map(same_json, one, other))
    return one == other
