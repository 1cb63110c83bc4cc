"""Python calls with keyword arguments, read from a text: `name(arg='x', n=3, **{'odd-name': None})`.

Values are Python literals that JSON can hold. JSON's own `true`, `false` and `null` are read too, since TL-Training's
released data writes arguments by `json.dumps`, and a tuple is read as a list. Strings may span lines, as models write
them.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from functools import lru_cache

from .cursor import Cursor
from .values import MAX_DEPTH, Json

_WORD = r"[^\W\d]\w*+"
NAME = rf"{_WORD}(?:[.-]{_WORD})*+"  # dotted, as in BFCL; hyphens as in MCP's names
PARAMETER = re.compile(_WORD)
_OPENING = re.compile(rf"({NAME})\(")
_KEY = re.compile(rf"({_WORD})\s*+=(?!=)")
_STRING = re.compile(
    r"""'''[^'\\]*+(?:(?:\\.|'(?!''))[^'\\]*+)*'''"""
    r'''|"""[^"\\]*+(?:(?:\\.|"(?!""))[^"\\]*+)*"""'''
    r"""|'[^'\\]*+(?:(?:\\.|(?<=\w)'(?=\w))[^'\\]*+)*'"""  # an apostrophe within a word closes nothing
    r'''|"[^"\\]*+(?:\\.[^"\\]*+)*"''',
    re.DOTALL,
)
_NOT_IN_SOURCE = re.compile(r"\\.|[\n\r\0]|(?<=\w)'(?=\w)", re.DOTALL)
_ATOM = re.compile(r"""[^\s,()\[\]{}:='"#]++""")
_BARE = re.compile(r"""[^,()\[\]{}'"=\n]++""")
_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[+-]?(?:(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)")
_CONSTANTS: dict[str, Json] = {
    "True": True,
    "False": False,
    "None": None,
    "true": True,
    "false": False,
    "null": None,
}
_CLOSING = {"[": "]", "(": ")", "{": "}"}
_BLANKS = re.compile(r"(?:\s++|#[^\n]*+)*+")
_LONGEST_ODD_NUMBER = 100


@lru_cache(maxsize=64)
def odd_names(names: tuple[str, ...]) -> str:
    """Return a pattern of the names that are no identifiers, the longest first; "" if there are none."""
    odd = sorted((name for name in names if not re.fullmatch(NAME, name)), key=len, reverse=True)
    return "|".join(map(re.escape, odd))


@lru_cache(maxsize=64)
def _opening(names: tuple[str, ...]) -> re.Pattern[str]:
    odd = odd_names(names)
    return re.compile(rf"({odd}|{NAME})\(") if odd else _OPENING


def read_call(cursor: Cursor, *, bare_values: bool = False) -> None:
    """Read the call that must stand here and add it to the cursor's calls.

    Args:
        cursor: stands at the tool's name.
        bare_values: whether a value without quotes that is no literal is taken as a text, up to the next comma.
    """
    opening = cursor.take(_opening(tuple(cursor.declared)))
    if opening is None:
        cursor.fail("a tool's name and an opening parenthesis are expected")
    arguments: dict[str, Json] = {}
    while peek(cursor) != ")":
        _read_argument(cursor, arguments, bare_values)
        if not take_text(cursor, ",") and peek(cursor) != ")":
            cursor.fail("a comma or the closing parenthesis is expected after an argument")
    cursor.take_text(")")
    cursor.add(opening[1], arguments, opening.start(), opening.span(1))


def peek(cursor: Cursor) -> str:
    """Skip white space and comments; the next character, or "" at the end."""
    cursor.take(_BLANKS)
    return cursor.text[cursor.pos : cursor.pos + 1]


def take_text(cursor: Cursor, literal: str) -> bool:
    """Skip white space and comments, then step over exactly these characters if they come next."""
    peek(cursor)
    return cursor.take_text(literal)


def read_literal(cursor: Cursor) -> Json:
    """Read the Python literal that must stand here; JSON's own constants are read too."""
    return _read_value(cursor, 0)


def _read_argument(cursor: Cursor, arguments: dict[str, Json], bare_values: bool) -> None:
    start = cursor.pos
    key = cursor.take(_KEY)
    if key is not None:
        cursor.skip_blanks()
        bare = bare_values and cursor.text[cursor.pos : cursor.pos + 1] not in ("'", '"', "[", "{", "(")
        new = {key[1]: _read_bare(cursor) if bare else _read_value(cursor, 1)}
    elif cursor.take_text("**") and cursor.peek() == "{":
        new = _read_dict(cursor, 0)
    else:
        cursor.fail("an argument of the form name=value is expected", start)
    for name in new.keys() & arguments.keys():
        cursor.fail(f"the argument {name!a} is given twice", start)
    arguments.update(new)


def _read_value(cursor: Cursor, depth: int) -> Json:
    cursor.count_value()
    if depth > MAX_DEPTH:
        cursor.fail(f"values are nested more than {MAX_DEPTH} deep")
    opening = peek(cursor)
    if opening in ("'", '"'):
        return _read_string(cursor)
    if opening == "{":
        return _read_dict(cursor, depth)
    if opening in ("[", "("):
        return _read_sequence(cursor, depth, opening)
    start = cursor.pos
    atom = cursor.take(_ATOM)
    if atom is None:
        cursor.fail("a value is expected")
    value = _literal(atom[0])
    if isinstance(value, str):
        cursor.fail("this is no literal: a number, True, False, None, or a text in quotes is expected", start)
    return value


def _read_bare(cursor: Cursor) -> Json:
    """Return a value without quotes: a literal if it is one, else its text (API-Bank has `location=New York`)."""
    cursor.count_value()
    text = cursor.take(_BARE)
    if text is None or not text[0].strip():
        cursor.fail("a value is expected")
    return _literal(text[0].strip())


def _literal(atom: str) -> Json:
    """Return the number or constant; the text itself if it is none."""
    if atom in _CONSTANTS:
        return _CONSTANTS[atom]
    try:
        if _INTEGER.fullmatch(atom):
            return int(atom)
        if _FLOAT.fullmatch(atom):
            number = float(atom)
            return number if math.isfinite(number) else atom
        if atom[0] in "+-.0123456789" and len(atom) <= _LONGEST_ODD_NUMBER:
            odd = ast.literal_eval(atom)  # hexadecimal, underscores
            return odd if type(odd) is int else atom
    except (ValueError, SyntaxError):
        pass
    return atom


def _read_string(cursor: Cursor) -> str:
    start = cursor.pos
    token = cursor.take(_STRING)
    if token is None:
        cursor.fail("this quote is never closed")
    source = token[0]
    width = 3 if len(source) >= 6 and source[:3] in ("'''", '"""') else 1
    if "\\" not in source:
        return source[width:-width]
    source = _NOT_IN_SOURCE.sub(_escape, source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of "\d", models write it
            value = ast.literal_eval(source)
    except (ValueError, SyntaxError):
        cursor.fail("this string has a malformed escape", start)
    assert isinstance(value, str)
    return value


def _escape(match: re.Match[str]) -> str:
    """Escape raw control characters, which a model's string may hold and Python's source may not."""
    found = match[0]
    if found == "'":
        return "\\'"
    return f"\\x{ord(found):02x}" if len(found) == 1 else found.replace("\0", "\\x00").replace("\r", "\n")


def _read_sequence(cursor: Cursor, depth: int, opening: str) -> Json:
    closing = _CLOSING[opening]
    cursor.take_text(opening)
    items: list[Json] = []
    comma = opening == "["
    while peek(cursor) != closing:
        items.append(_read_value(cursor, depth + 1))
        if take_text(cursor, ","):
            comma = True
        elif peek(cursor) != closing:
            cursor.fail(f"a comma or {closing!r} is expected")
    cursor.take_text(closing)
    return items if comma or not items else items[0]  # (1) is 1, (1,) a tuple


def _read_dict(cursor: Cursor, depth: int) -> dict[str, Json]:
    cursor.take_text("{")
    members: dict[str, Json] = {}
    while peek(cursor) != "}":
        if peek(cursor) not in ("'", '"'):
            cursor.fail("a key in quotes is expected: JSON objects have texts as keys")
        start = cursor.pos
        key = _read_string(cursor)
        if key in members:
            cursor.fail(f"the key {key!a} is given twice", start)
        if not take_text(cursor, ":"):
            cursor.fail("a colon is expected after a key")
        members[key] = _read_value(cursor, depth + 1)
        if not take_text(cursor, ",") and peek(cursor) != "}":
            cursor.fail("a comma or '}' is expected")
    cursor.take_text("}")
    return members
