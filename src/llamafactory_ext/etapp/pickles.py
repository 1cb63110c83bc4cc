"""Pickles that hold plain values: nothing in them is ever called."""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any, NoReturn

from ..errors import DataError

MOST_BYTES = 16 << 20
MOST_STEPS = 2_000_000  # the published files have 190,000
MOST_VALUES = 2_000_000
MOST_DEPTH = 32
_MOST_DIGITS = 400  # bits of a number that can be written
_ALLOWED = frozenset(
    (
        *("PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2"),
        *("LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "EMPTY_LIST", "APPEND", "APPENDS", "LIST", "EMPTY_TUPLE"),
        *("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "PUT", "BINPUT"),
        *("LONG_BINPUT", "GET", "BINGET", "LONG_BINGET", "MEMOIZE", "POP", "POP_MARK", "DUP"),
    )
)


_PLACED = ("PUT", "BINPUT", "LONG_BINPUT")


class _Plain(pickle.Unpickler):
    """An unpickler that knows no names."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def read_plain(path: Path) -> Any:
    """Return the value of a pickle.

    Raises:
        DataError: it is too long, damaged, or holds more than lists, dictionaries, texts and numbers.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path} is longer than {MOST_BYTES:,} bytes; it is no file of the published data.")
        content = path.read_bytes()
        for step, (code, given, _) in enumerate(pickletools.genops(content), start=1):
            if code.name not in _ALLOWED:
                raise DataError(
                    f"{path} holds more than plain values ({code.name}); it is not read. Get the published file."
                )
            # A place in the memory of the reader that lies far off would make it reserve all in between.
            if step > MOST_STEPS or (code.name in _PLACED and int(given or 0) > step):
                raise DataError(f"{path} would take too much memory; it is not read. Get the published file.")
        value = _Plain(io.BytesIO(content)).load()
        _check(value, path)
        return value
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; complete the checkout.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); complete the checkout.") from None
    except DataError:
        raise
    except Exception as error:  # damaged pickles raise whatever they like
        raise DataError(
            f"{path} is no pickle that can be read ({type(error).__name__}); get the file again."
        ) from None


def _check(value: Any, path: Path) -> None:
    """Refuse what JSON could not show: keys that are no texts, values within themselves, and too many of them.

    Raises:
        DataError: the pickle holds such a thing.
    """
    level, left = [value], MOST_VALUES
    for _ in range(MOST_DEPTH):
        inside: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                if not all(isinstance(key, str) for key in one):
                    raise DataError(f"{path} has a key that is no text; get the published file.")
                inside += one.values()
            elif isinstance(one, list | tuple):
                inside += one
            elif isinstance(one, int) and one.bit_length() > _MOST_DIGITS:
                raise DataError(f"{path} has a number that is too long; get the published file.")
            if len(inside) > left:
                raise DataError(f"{path} holds more than {MOST_VALUES:,} values; get the published file.")
        if not inside:
            return
        left -= len(inside)
        level = inside
    raise DataError(f"{path} is nested more than {MOST_DEPTH} deep; get the published file.")
