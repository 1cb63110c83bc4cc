"""What the isolated side reports: one byte for the kind, two for the length, then that much text; nothing longer.

The program holds no end of the pipe: these records are written by processes that run no line of it.
"""

import os
import struct

REFUSED, IDENTITY, STARTED, FINISHED, FAILED, KILLED = range(6)
LONGEST = 2000
_HEAD = struct.Struct("!BH")


def pack(kind: int, text: str = "") -> bytes:
    """Return a record as bytes."""
    content = text.encode("utf-8", "replace")[:LONGEST]
    return _HEAD.pack(kind, len(content)) + content


def send(pipe: int, kind: int, text: str = "") -> None:
    """Write a record; pipes take that few bytes at once."""
    os.write(pipe, pack(kind, text))


def unpack(told: bytes) -> list[tuple[int, str]]:
    """Return the whole records of what a pipe said so far; an unknown kind ends the list."""
    found, place = [], 0
    while place + _HEAD.size <= len(told):
        kind, length = _HEAD.unpack_from(told, place)
        place += _HEAD.size
        if kind > KILLED or length > LONGEST or place + length > len(told):
            break
        found.append((kind, told[place : place + length].decode("utf-8", "replace")))
        place += length
    return found
