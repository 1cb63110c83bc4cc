"""BFCL's published files: which there are, what their names say, and which answer belongs to which record.

Files are `BFCL_v3_<category>.json` and `BFCL_v4_<category>.json`, JSON lines. Possible answers lie in
`possible_answer/` under the same file name, or beside the folder as v4's retired sets have them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_NAME: Final = re.compile(r"BFCL_(v[34])_(\w+)\.json")
CHECKED: Final = frozenset(
    f"{live}{kind}" for live in ("", "live_") for kind in ("simple", "multiple", "parallel", "parallel_multiple")
) | {"simple_python"}
DETECTION: Final = frozenset(f"{live}{kind}" for live in ("", "live_") for kind in ("irrelevance", "relevance"))
EXECUTABLE: Final = frozenset(f"exec_{kind}" for kind in ("simple", "multiple", "parallel", "parallel_multiple"))
MULTI_TURN: Final = frozenset(f"multi_turn_{kind}" for kind in ("base", "miss_func", "miss_param", "long_context"))
# Of 100 records of a file, this many answers may have an id of their own; v3's live_multiple has one such.
_STRAYS: Final = 1


def version_of(path: Path) -> str:
    """Return "v3" or "v4" as the file's name says; "" if it does not."""
    match = _NAME.fullmatch(path.name)
    return match[1] if match else ""


def category_of(path: Path) -> str:
    """Return the category that a file's name states; of other names the part before the first dot."""
    match = _NAME.fullmatch(path.name)
    return match[2] if match else path.name.partition(".")[0]


def refusal(path: Path) -> str | None:
    """Return in one line why a file is not read here; None for categories that are."""
    category = category_of(path)
    if category in CHECKED | DETECTION | EXECUTABLE:
        return None
    if category.endswith(("java", "javascript")):
        return f"{path.name}: values are written in {category.removeprefix('simple_')}; only Python files are read."
    if category in MULTI_TURN:
        return f"{path.name}: several turns with simulated tools; only the benchmark bfcl_multi_turn reads it."
    known = sorted(CHECKED | DETECTION | EXECUTABLE)
    return f"{path.name}: the category {category!r} is not read; name a file of one of {', '.join(known)}."


def answers_path(path: Path) -> Path | None:
    """Return the file with the possible answers, or the gold calls moved out of an executable file; None without."""
    for folder in (path.parent, path.parent.parent):
        found = folder / "possible_answer" / path.name
        if found.is_file() and found != path:
            return found
    return None


def paired_answers(
    records: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]]
) -> list[list[Any] | None]:
    """Return each record's `ground_truth`, by its id; None where there is none.

    The published evaluator goes by the place alone. Here the place counts only for a rare id that has a typing error,
    in files of one length.
    """
    by_id = {str(answer["id"]): answer["ground_truth"] for answer in answers}
    found = [by_id.get(str(record["id"])) for record in records]
    known = {str(record["id"]) for record in records}
    lacking = [place for place, answer in enumerate(found) if answer is None]
    if len(records) == len(answers) and len(lacking) * 100 <= len(records) * _STRAYS:
        for place in lacking:
            if str(answers[place]["id"]) not in known:
                found[place] = answers[place]["ground_truth"]
    return found


def parameter_names(functions: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """Return a declared function's parameters in the order in which they are declared; none if it is not declared."""
    for function in functions:
        if isinstance(function, Mapping) and function.get("name") == name:
            return list((function.get("parameters") or {}).get("properties") or {})
    return []


def bound(names: Sequence[str], positional: Sequence[Any], keywords: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return the arguments by name, those without one in the declared order, as Python binds them.

    Raises:
        ValueError: more of them than parameters, or one that is given twice.
    """
    if len(positional) > len(names):
        raise ValueError(f"{len(positional)} arguments by position, but {len(names)} parameters are declared")
    by_place = dict(zip(names, positional, strict=False))
    twice = sorted(by_place.keys() & keywords.keys())
    if twice:
        raise ValueError(f"{', '.join(twice)} given by position and by name")
    return {**by_place, **keywords}
