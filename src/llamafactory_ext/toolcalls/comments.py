"""Comments in code: a call that stands in one is none."""

from __future__ import annotations

import re

# `#` or `//` that begins a line or stands behind a blank or a bracket; `#1` is a number.
_LINE = r"(?m:^[ \t]*+(?:#(?![0-9])|//)|(?<=[\s,;)\]}])(?:#|//)(?=[ \t]))[^\n]*+"
_HTML, _HTML_END = "<!--", "-->"
COMMENT = re.compile(rf"{_LINE}|{_HTML}")
OPENINGS = ("#", "//", _HTML)
_LINES = re.compile(_LINE)


def end_of_comment(text: str, opening: re.Match[str]) -> int:
    """Return where a comment ends; the text's length if it never does."""
    if opening[0] != _HTML:
        return opening.end()
    end = text.find(_HTML_END, opening.end())
    return len(text) if end < 0 else end + len(_HTML_END)


def without_comments(text: str) -> str:
    """Leave out the comments that end with their line."""
    return _LINES.sub("", text)
