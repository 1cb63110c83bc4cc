"""Plain values between two worlds: what Python's own types hold, without their classes, of bounded length.

A value arrives as exactly one of Python's types. So an object that calls itself equal to everything arrives as one
that equals nothing else.
"""

import json
import os
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

LONGEST = 16 << 20  # bytes of one value
_MOST_ITEMS = 200_000  # taken from an iterator


class MalformedError(Exception):
    """Bytes that are no value."""


class Foreign:
    """What an object of another type becomes: equal to nothing but itself."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"<{self._name}>"


def encode(value: Any) -> Any:
    """Return a value as JSON holds it; everything but null, truth and text is a list that begins with its type."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return ["int", hex(int.__int__(value))]
    if isinstance(value, float):
        return ["float", float.__repr__(value)]
    if isinstance(value, complex):
        return ["complex", float.__repr__(value.real), float.__repr__(value.imag)]
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            own: Any = kind  # not what a class of the program's makes of it
            return [kind.__name__, [encode(item) for item in own.__iter__(value)]]
    if isinstance(value, dict):
        return ["dict", [[encode(key), encode(item)] for key, item in dict.items(value)]]
    return _encode_rare(value)


def _encode_rare(value: Any) -> Any:
    if isinstance(value, bytes | bytearray):
        return ["bytes" if isinstance(value, bytes) else "bytearray", value.hex()]
    if type(value) is Decimal:
        return ["decimal", str(value)]
    if type(value) is Fraction:
        return ["fraction", hex(value.numerator), hex(value.denominator)]
    if type(value) is range:
        return ["range", *(hex(part) for part in (value.start, value.stop, value.step))]
    if isinstance(value, Iterator):
        items = []
        for item in value:
            items.append(encode(item))
            if len(items) > _MOST_ITEMS:
                raise MalformedError("an iterator without an end")
        return ["iterator", items]
    return ["foreign", type(value).__name__[:100]]


def decode(value: Any) -> Any:
    """Return the value that `encode` wrote.

    Raises:
        MalformedError: it wrote no such thing.
    """
    if value is None or isinstance(value, bool | str):
        return value
    try:
        kind, *parts = value
        return _DECODERS[kind](*parts)
    except (TypeError, ValueError, KeyError, ArithmeticError, RecursionError) as error:
        raise MalformedError(f"no plain value ({type(error).__name__})") from None


def _hexadecimal(text: str) -> int:
    return int(text, 16)


def _items(parts: Any) -> Iterator[Any]:
    return (decode(part) for part in parts)


_DECODERS: dict[str, Any] = {
    "int": _hexadecimal,
    "float": float,
    "complex": lambda real, imaginary: complex(float(real), float(imaginary)),
    "list": lambda parts: list(_items(parts)),
    "tuple": lambda parts: tuple(_items(parts)),
    "set": lambda parts: set(_items(parts)),
    "frozenset": lambda parts: frozenset(_items(parts)),
    "dict": lambda pairs: {decode(key): decode(item) for key, item in pairs},
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "decimal": Decimal,
    "fraction": lambda above, below: Fraction(_hexadecimal(above), _hexadecimal(below)),
    "range": lambda *parts: range(*map(_hexadecimal, parts)),
    "iterator": lambda parts: iter(list(_items(parts))),
    "foreign": Foreign,
}


def send(pipe: int, value: Any) -> None:
    """Write a value with its length before it.

    Raises:
        MalformedError: it is too long.
    """
    content = json.dumps(value).encode("ascii")
    if len(content) > LONGEST:
        raise MalformedError("a value of more than 16 MB")
    whole = len(content).to_bytes(4, "big") + content
    while whole:
        whole = whole[os.write(pipe, whole) :]


def receive(pipe: int) -> Any:
    """Read a value; None where the other side has ended.

    Raises:
        MalformedError: what came is none.
    """
    head = _read(pipe, 4)
    if head is None:
        return None
    length = int.from_bytes(head, "big")
    if length > LONGEST:
        raise MalformedError("a value of more than 16 MB")
    content = _read(pipe, length)
    if content is None:
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise MalformedError("no value, but other bytes") from None


def _read(pipe: int, length: int) -> bytes | None:
    parts = []
    while length:
        part = os.read(pipe, min(length, 1 << 20))
        if not part:
            return None
        parts.append(part)
        length -= len(part)
    return b"".join(parts)
