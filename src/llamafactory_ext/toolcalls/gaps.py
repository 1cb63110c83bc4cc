"""What stands between two calls and around them: separators, the rest of a malformed call, or prose."""

from __future__ import annotations

import re

from .comments import without_comments
from .formats.form import LOOSE_SEPARATORS, Format
from .thoughts import split_thought

# Brackets too many, the ends of fences, and end marks that are misspelt.
_STRAY = re.compile(r"(?:[\s)}\]`]|<[/|｜][^\s<>]*+>)*+")
_LISTED = re.compile(r"(?<!\w)\d{1,2}[.)](?=\s)|(?<!\S)[-*](?=\s)")
_QUOTED = re.compile(r"\"(?:[^\"\\\n]|\\.)*+\"|'(?:[^'\\\n]|\\.)*+'|<[^<>\n]*+>")
_WORD = r"[^\W\d_]{2,}+"
# Two words, a word before a full stop or its like of a script without blanks, or a line of one word with such a stop.
_PROSE = re.compile(
    rf"(?<!\w){_WORD}(?:(?:['’]\w++)?,?[ \t]++[^\W\d_]|[。！，：？])|^[ \t]*+{_WORD}[.:!…]++[ \t]*+$", re.MULTILINE
)


def joins(gap: str, form: Format) -> bool:
    """Tell whether two calls with this between them are calls of one group."""
    gap = without_comments(gap) if form.is_code else gap
    if form.between.fullmatch(gap) is not None:
        return True
    rest = LOOSE_SEPARATORS.sub("", form.between.sub("", _LISTED.sub("", gap)))
    return _STRAY.fullmatch(rest) is not None


def in_a_row(gap: str, *forms: Format) -> bool:
    """Tell whether no prose stands between the place where a malformed call failed and the next call.

    Whatever stands before the last closing mark in the gap is the rest of the malformed call.
    """
    end = max((gap.rfind(form.closing) + len(form.closing) for form in forms if form.closing in gap), default=0)
    rest = gap[end:]
    if all(form.is_code for form in forms):
        rest = without_comments(rest)
    rest = _QUOTED.sub("", rest)
    return _PROSE.search(rest) is None


def stands_alone(text: str, start: int, end: int) -> bool:
    """Tell whether calls have their lines for themselves; labels, closing marks and a thought before them apart."""
    before = text[text.rfind("\n", 0, start) + 1 : start]
    if before and not before.isspace():
        before = text[max(start - len(before), len(split_thought(text)[0])) : start]
    return not _says(before) and ends_line(text, end)


def no_mention(text: str, start: int, end: int, form: Format) -> bool:
    """Tell whether calls are made where they stand, and not named in a sentence.

    Words may stand before them ("No, rather: <tool_call>.."), but not behind them on the same line. A call in Python
    without brackets, or a name without marks, needs its lines for itself.
    """
    if form.name_apart or (form.is_code and not text.startswith("[", start)):
        return stands_alone(text, start, end)
    return ends_line(text, end)


def ends_line(text: str, end: int) -> bool:
    """Tell whether nothing stands on the line behind calls that end there; labels and closing marks apart."""
    line_end = text.find("\n", end)
    return not _says(without_comments(text[end : line_end if line_end >= 0 else len(text)]))


def _says(part: str) -> bool:
    return any(map(str.isalnum, re.sub(r"<[^<>]*>|```\w*|[\w-]*:", "", part)))
