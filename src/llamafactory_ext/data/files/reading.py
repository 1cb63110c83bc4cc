"""Read records out of JSON and JSONL files (also gzipped) one at a time: memory does not grow with the file."""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

from llamafactory_ext.errors import DataError

from ...toolcalls.pairs import Pairs
from .repeated import noted

_CHUNK_BYTES = 1 << 20
_FIRST_LINE_MAX = 1 << 20  # a longer first line is not taken for a JSONL record unless the name says so
_BLANKS = re.compile(r"[ \t\n\r]*")
# A value that is cut by the end of the window fails within this many characters of it (the longest cut token is a
# surrogate pair, `\ud83d\ude00`), except for a string, whose error points at its opening quote.
_CUT_MARGIN = 16
_CUT_STRING = "Unterminated string"


def iter_records(path: Path, list_key: str | None = None) -> Iterator[tuple[str, Any]]:
    """Yield (place, value) for each record of a JSON list, a JSONL file, or the list under `list_key` of an object.

    The place reads "line 3" in a JSONL file and "index 2" (from 0) in a list. Values are whatever the JSON says: the
    caller checks that they are objects. A record that has a key twice, in any of its objects, is a `Repeated`.

    Raises:
        DataError: missing, unreadable, not UTF-8, malformed (with line and column), empty, or no list of records.
    """
    try:
        with _open(path) as handle:
            window = _Window(path, handle)
            first = window.peek()
            if first == "":
                raise DataError(f"{path} is empty; get the file again or name another one.")
            is_jsonl = path.name.endswith((".jsonl", ".jsonl.gz"))
            if first == "{" and (is_jsonl or window.first_line_is_record(list_key)):
                handle.seek(0)
                records = _iter_lines(path, handle)
            elif first == "[":
                records = _iter_list(window)
            elif first == "{" and list_key is not None:
                records = _iter_object(window, list_key)
            elif first == "{":
                # A broken first line of JSONL ends here too, so say where the text stops being one object.
                window.value()
                raise DataError(
                    f"{path} holds one JSON object; write a list of records, or one record per line (JSONL)."
                )
            else:
                window.fail("a list of records or one record per line is expected")
            count = 0
            for record in records:
                count += 1
                yield record
            if count == 0:
                raise DataError(f"{path} holds no records; get the file again or name another one.")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; check the path.") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder; name a file in it.") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is no whole gzip file ({error}); get the file again.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check its permissions.") from None


def _open(path: Path) -> BinaryIO:
    """Return the file's bytes, unpacked if its name ends with .gz."""
    return cast(BinaryIO, gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _iter_lines(path: Path, handle: BinaryIO) -> Iterator[tuple[str, Any]]:
    pairs = Pairs()
    for number, line in enumerate(handle, start=1):
        raw = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if not raw.strip():
            continue
        try:
            yield f"line {number}", noted(pairs, json.loads(raw.decode("utf-8"), object_pairs_hook=pairs))
        except UnicodeDecodeError as error:
            raise _not_utf8(path, number, error.start + 1) from None
        except json.JSONDecodeError as error:
            raise _malformed(path, number, error.colno, error.msg) from None
        except (ValueError, RecursionError) as error:
            raise _malformed(path, number, 1, str(error)) from None


def _iter_list(window: _Window) -> Iterator[tuple[str, Any]]:
    yield from _items(window)
    _expect_end(window)


def _iter_object(window: _Window, list_key: str) -> Iterator[tuple[str, Any]]:
    found = False
    window.pos += 1
    separator = "," if window.peek() != "}" else "}"
    while separator == ",":
        window.peek()
        key = window.value()
        if window.peek() != ":":
            window.fail("Expecting ':' delimiter")
        window.pos += 1
        if key == list_key and window.peek() == "[":
            found = True
            yield from _items(window)
        else:
            window.peek()
            window.value()
        separator = window.peek()
        if separator not in ("}", ","):
            window.fail("Expecting ',' delimiter")
        window.pos += separator == ","
    window.pos += 1
    _expect_end(window)
    if not found:
        raise DataError(f'{window.path} is an object without the list "{list_key}"; name the published file.')


def _items(window: _Window) -> Iterator[tuple[str, Any]]:
    window.pos += 1
    index = 0
    if window.peek() == "]":
        window.pos += 1
        return
    while True:
        window.peek()
        yield f"index {index}", window.value()
        index += 1
        separator = window.peek()
        if separator not in (",", "]"):
            window.fail("Expecting ',' delimiter")
        window.pos += 1
        if separator == "]":
            return


def _expect_end(window: _Window) -> None:
    if window.peek() != "":
        window.fail("Extra data")


class _Window:
    """A sliding window of decoded text that knows line and column of its position."""

    def __init__(self, path: Path, handle: BinaryIO) -> None:
        self.path = path
        self.pos = 0
        self._handle = handle
        self._text = ""
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._pairs = Pairs()
        self._json = json.JSONDecoder(object_pairs_hook=self._pairs)
        self._ended = False
        self._dropped_lines = 0  # newlines before the window
        self._dropped_column = 0  # characters between the last of them and the window

    def peek(self) -> str:
        """Skip blanks; return the next character, or "" at the end of the file."""
        while True:
            match = _BLANKS.match(self._text, self.pos)
            assert match is not None
            self.pos = match.end()
            if self.pos < len(self._text):
                return self._text[self.pos]
            if not self._more():
                return ""

    def value(self) -> Any:
        """Decode the JSON value that starts at the position, and step over it."""
        while True:
            self._pairs.take()  # of a value that was cut
            try:
                value, end = self._json.raw_decode(self._text, self.pos)
            except json.JSONDecodeError as error:
                cut = error.pos > len(self._text) - _CUT_MARGIN or error.msg.startswith(_CUT_STRING)
                ahead = error.pos - self.pos  # offsets are kept: asking for more moves the window, even at the end
                if cut and self._more():
                    continue
                self.pos += ahead
                self.fail(error.msg)
            except (ValueError, RecursionError) as error:
                self.fail(str(error))
            length = end - self.pos
            if end == len(self._text) and self._more():
                continue  # a number may go on
            self.pos += length
            return noted(self._pairs, value)

    def first_line_is_record(self, list_key: str | None) -> bool:
        """Tell whether the first line is an object by itself, and not the one that holds the list."""
        while "\n" not in self._text and len(self._text) < _FIRST_LINE_MAX and self._more():
            pass
        line = self._text[self.pos :].split("\n", 1)[0]
        try:
            first = json.loads(line)
        except (ValueError, RecursionError):
            return False
        return isinstance(first, dict) and (list_key is None or list_key not in first)

    def fail(self, message: str) -> NoReturn:
        """Raise a DataError at the position."""
        before = self._text[: self.pos]
        lines = before.count("\n")
        column = self.pos - before.rfind("\n") - 1 if lines else self._dropped_column + self.pos
        raise _malformed(self.path, self._dropped_lines + lines + 1, column + 1, message)

    def _more(self) -> bool:
        """Drop what was read, add a chunk (as large as what is left, so that a long value stays linear)."""
        if self._ended:
            return False
        used, rest = self._text[: self.pos], self._text[self.pos :]
        newlines = used.count("\n")
        self._dropped_lines += newlines
        self._dropped_column = len(used) - used.rfind("\n") - 1 if newlines else self._dropped_column + len(used)
        self._text, self.pos = rest, 0
        raw = self._handle.read(max(_CHUNK_BYTES, len(rest)))
        self._ended = not raw
        try:
            text = self._utf8.decode(raw, final=self._ended)
        except UnicodeDecodeError as error:
            good = rest + error.object[: error.start].decode("utf-8")
            lines = good.count("\n")
            column = len(good) - good.rfind("\n") if lines else self._dropped_column + len(good) + 1
            raise _not_utf8(self.path, self._dropped_lines + lines + 1, column) from None
        if self._dropped_lines == self._dropped_column == 0 and not rest:
            text = text.removeprefix("\ufeff")
        self._text += text
        return bool(text) or not self._ended


def _malformed(path: Path, line: int, column: int, message: str) -> DataError:
    return DataError(
        f"{path}, line {line} column {column}: malformed JSON ({message}); mend it or get the file again."
    )


def _not_utf8(path: Path, line: int, column: int) -> DataError:
    return DataError(f"{path}, line {line} column {column}: not UTF-8; save the file as UTF-8.")
