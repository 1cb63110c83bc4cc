"""The cases as people read them."""

from __future__ import annotations

import json

from ..errors import OptionError
from .calls import TIME
from .cases import Source, open_source


def listed(source: str) -> str:
    """Return one line for each case."""
    found = open_source(source)
    lines = [f"{case.id:<24} {case.now.strftime(TIME)}  {case.query}" for case in found.cases]
    return "\n".join([*lines, f"{len(lines)} cases of {found.name}", *found.notes])


def shown(source: str, key: str) -> str:
    """Return all of one case.

    Raises:
        OptionError: there is none of this id.
    """
    found = open_source(source)
    case = found.by_id.get(key)
    if case is None:
        raise OptionError(f"--show {key}: there is no such case; {_near(found)}")
    parts = {
        "request": f"{case.query} ({case.now.strftime(TIME)}, {case.place})",
        "tools": ", ".join(case.given),
        "personal": "; ".join(case.personal),
        "proactive": "; ".join(case.proactive),
        "preferences": json.dumps(found.worlds[case.user].preferences, ensure_ascii=False, indent=1),
        "checks": json.dumps(case.checks, ensure_ascii=False, indent=1) if case.checks else "none",
    }
    return "\n".join(f"{name}: {text}" for name, text in parts.items())


def _near(source: Source) -> str:
    return f"they are {source.cases[0].id} to {source.cases[-1].id}; `llamafactory-ext etapp cases` lists them."
