"""Pickles that hold plain values: nothing in them is ever called."""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any, NoReturn

from ..errors import DataError

MOST_BYTES = 16 << 20
_ALLOWED = frozenset(
    (
        *("PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2"),
        *("LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "EMPTY_LIST", "APPEND", "APPENDS", "LIST", "EMPTY_TUPLE"),
        *("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "PUT", "BINPUT"),
        *("LONG_BINPUT", "GET", "BINGET", "LONG_BINGET", "MEMOIZE", "POP", "POP_MARK", "DUP"),
    )
)


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
        for code, _, _ in pickletools.genops(content):
            if code.name not in _ALLOWED:
                raise DataError(
                    f"{path} holds more than plain values ({code.name}); it is not read. Get the published file."
                )
        return _Plain(io.BytesIO(content)).load()
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; complete the checkout.") from None
    except DataError:
        raise
    except Exception as error:  # damaged pickles raise whatever they like
        raise DataError(
            f"{path} is no pickle that can be read ({type(error).__name__}); get the file again."
        ) from None
