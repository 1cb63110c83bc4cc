"""Objects in feedback that are no JSON: Python's repr, typographic quotes, texts that were cut off."""

from __future__ import annotations

import re
from typing import Any

_TOKEN = re.compile(
    r'"(?P<double>(?:[^"\\]|\\.)*+)"' r"|'(?P<single>(?:[^'\\]|\\.)*+)'" r"|[“”](?P<curly>[^“”]*+)[“”]"
    r"|(?P<mark>[{}\[\]():,])|(?P<atom>[^\s{}\[\]():,\"'“”]++)|(?P<open>[\"'“”].*)",
    re.DOTALL,
)  # fmt: skip
_CONSTANTS = {"None": None, "null": None, "True": True, "true": True, "False": False, "false": False}


def loose_members(text: str) -> dict[str, Any]:
    """Return the members of the object that the text begins with, as far as it goes.

    What follows the object is passed over.

    A member that holds an object or a list is given as its text, the first of several of one name counts.
    """
    members: dict[str, Any] = {}
    depth, key, last, start = 0, None, None, 0
    for token in _TOKEN.finditer(text):
        mark = token["mark"]
        if mark and mark in "{[(":
            depth += 1
            start = token.start() if depth == 2 else start
        elif mark and mark in "}])":
            depth -= 1
            if depth == 1 and key is not None:
                members.setdefault(key, text[start : token.end()])
            if depth == 0:
                return members
        elif depth == 1 and mark == ":":
            key = last if isinstance(last, str) else None
        elif depth == 1 and mark == ",":
            key = last = None
        elif depth == 1:
            last = _scalar(token)
            if key is not None:
                members.setdefault(key, last)
    if depth >= 2 and key is not None:
        members.setdefault(key, text[start:])
    return members


def _scalar(token: re.Match[str]) -> Any:
    if token["atom"] is not None:
        atom = token["atom"]
        return int(atom) if re.fullmatch(r"-?\d{1,18}", atom) else _CONSTANTS.get(atom, atom)
    if token["open"] is not None:
        return token["open"][1:]
    return next(token[kind] for kind in ("double", "single", "curly") if token[kind] is not None)
