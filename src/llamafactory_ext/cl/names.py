"""What a file of options may hold: names of folders, known keys, whole characters. One sentence per problem."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final

_ODD: Final = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|\ud800-\udfff]')
_HALF: Final = re.compile(r"[\ud800-\udfff\x00]")
# Names that the comparison's folder has already.
TAKEN: Final = (
    "base",
    "search",
    "comparison.json",
    "result.json",
    "report.md",
    "report.html",
    "heatmap.png",
    "curves.png",
    "gates.png",
)
_LONGEST: Final = 100


def name_problem(name: str, taken: Iterable[str] = ()) -> str | None:
    """Say why a name cannot be that of a folder of its own; None if it can.

    Args:
        name: of a method or a task.
        taken: names that have another meaning.
    """
    if name.casefold() in taken:
        return f"is the name of something else in `out`; choose a name beside {', '.join(taken)}"
    plain = name.strip() == name and not name.startswith(".") and not name.endswith(".") and not _ODD.search(name)
    if not name or not plain or len(name.encode("utf-8", "replace")) > _LONGEST:
        return f"is no plain name of a folder; write letters, digits, - and _, at most {_LONGEST} bytes"
    return None


def unknown_keys(given: Mapping[Any, Any], known: Iterable[str], where: str = "") -> list[str]:
    """Return a sentence for each key that means nothing.

    Args:
        given: what the file says.
        known: keys that mean something.
        where: before the key, such as `evaluate.`.
    """
    known = sorted(known)
    return [
        f"{where}{key} is unknown; {advice(str(key), known)}"
        for key in given
        if not (isinstance(key, str) and key in known)
    ]


def advice(name: str, known: Iterable[str]) -> str:
    """Return the next step for an unknown name: the nearest one, or to remove it."""
    near = get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else "remove it"


def twice(names: Iterable[Any]) -> list[Any]:
    """Return what stands in a list more than once, each once; letters of either case are the same to some disks."""
    seen: set[Any] = set()
    found: dict[Any, None] = {}
    for name in names:
        key = name.casefold() if isinstance(name, str) else name
        if key in seen:
            found[name] = None
        seen.add(key)
    return list(found)


def halves(value: Any) -> list[str]:
    """Return texts within a value that no file can hold: with half a character or a zero byte.

    Raises:
        RecursionError: it is nested too deeply.
    """
    found: list[str] = []
    seen: set[int] = set()  # aliases of YAML may name a part many times, or within itself

    def look(part: Any) -> None:
        if isinstance(part, str):
            if _HALF.search(part):
                found.append(part.encode("ascii", "backslashreplace").decode()[:100])
        elif isinstance(part, dict | list) and id(part) not in seen:
            seen.add(id(part))
            for inner in [*part, *part.values()] if isinstance(part, dict) else part:
                look(inner)

    look(value)
    return found
