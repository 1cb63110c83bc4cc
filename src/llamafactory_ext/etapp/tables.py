"""CSV as pandas 2.2 reads it: blank lines skipped, gaps as NaN, columns of integers, floats, flags or texts.

The standard library alone does it here; a test compares with what the published tools print.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError

MOST_BYTES = 64 << 20
MOST_CELLS, MOST_ROWS = 8_000_000, 1_000_000
GAPS = frozenset(
    (
        *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A"),
        *("NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    )
)
_END = "\x02the end\x03"  # a line behind the text: a cell whose quotes are open would hold it, too
_INTEGER = re.compile(r"\s*[+-]?\d{1,18}\s*")
_FLOAT = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*")
_INFINITE = re.compile(r"\s*[+-]?inf(?:inity)?\s*", re.IGNORECASE)
_FLAGS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}


class Table(list[dict[str, Any]]):
    """The rows of a table.

    Args:
        columns: their names, which are there without any row, too.
        rows: values by column.
    """

    def __init__(self, columns: Sequence[str], rows: Iterable[dict[str, Any]] = ()) -> None:
        super().__init__(rows)
        self.columns = tuple(columns)


def read_table(path: Path) -> Table:
    """Return the rows of a CSV file.

    Raises:
        DataError: it is missing, too long, no UTF-8, or a row has more or fewer cells than there are columns.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path} is longer than {MOST_BYTES:,} bytes; it is no file of the published data.")
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; complete the checkout.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); get the file again.") from None
    return parse_table(text, str(path))


def parse_table(text: str, place: str = "the table") -> Table:
    """Return the rows of a CSV text; see `read_table`. No published table has a short row: one is a cut file's."""
    try:
        lines, cells = [], 0
        for row in csv.reader(io.StringIO(f"{text}\n{_END}\n", newline="")):
            if row and not _is_blank(row):
                lines.append(row)
                cells += len(row)
            if cells > MOST_CELLS or len(lines) > MOST_ROWS + 2:
                raise DataError(f"{place} has too many rows or columns; it is no file of the published data.")
    except csv.Error as error:
        raise DataError(f"{place} is no CSV ({error}); get the file again.") from None
    if not lines or lines.pop() != [_END]:
        raise DataError(f"{place} ends within a cell in quotes; get the file again.")
    if not lines:
        raise DataError(f"{place} has no columns; get the file again.")
    names = _names(lines[0])
    for number, row in enumerate(lines[1:], start=1):
        if len(row) != len(names):
            raise DataError(f"{place}, row {number}: {len(row)} cells in {len(names)} columns; get the file again.")
    columns = [_column([row[place] for row in lines[1:]]) for place in range(len(names))]
    return Table(names, (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)))


def _is_blank(row: Sequence[str]) -> bool:
    """Tell whether a line holds nothing but blanks; an empty cell in quotes is a row."""
    return len(row) == 1 and row[0] != "" and not row[0].strip()


def _names(head: Sequence[str]) -> list[str]:
    names: list[str] = []
    seen: Counter[str] = Counter()
    for place, given in enumerate(head):
        name = given or f"Unnamed: {place}"
        count = seen[name]
        names.append(f"{name}.{count}" if count else name)
        stem, dot, number = names[-1].rpartition(".")
        seen.update({names[-1], stem} if dot and number.isdigit() else {names[-1]})
    return names


def _column(cells: Sequence[str]) -> list[Any]:
    """Return the values of a column; one cell that is no number makes all of it texts."""
    known = [cell for cell in cells if cell not in GAPS]
    has_gaps = len(known) < len(cells)
    if not known:
        return [math.nan] * len(cells)
    if all(_INTEGER.fullmatch(cell) for cell in known):
        return [math.nan if c in GAPS else float(c) for c in cells] if has_gaps else [int(c) for c in cells]
    if all(_FLOAT.fullmatch(cell) or _INFINITE.fullmatch(cell) for cell in known):
        return [math.nan if cell in GAPS else float(cell) for cell in cells]
    if all(cell in _FLAGS for cell in known):
        return [math.nan if cell in GAPS else _FLAGS[cell] for cell in cells]
    return [math.nan if cell in GAPS else cell for cell in cells]


def without_gaps(table: Table, columns: Sequence[str], place: str = "the table") -> list[dict[str, Any]]:
    """Return the rows that have no gap in any column, with these columns alone.

    Raises:
        DataError: a column is not there.
    """
    refuse_lacking(table, columns, place)
    whole = [row for row in table if not any(isinstance(value, float) and math.isnan(value) for value in row.values())]
    return [{name: row[name] for name in columns} for row in whole]


def refuse_lacking(table: Table, columns: Sequence[str], place: str) -> None:
    """Make sure that a table has these columns, be it without rows.

    Raises:
        DataError: it lacks some.
    """
    lacking = [name for name in columns if name not in table.columns]
    if lacking:
        raise DataError(f"{place} has no column {', '.join(lacking)}; get the file again.")
