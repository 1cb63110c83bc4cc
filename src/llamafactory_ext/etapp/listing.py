"""The cases as people read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import OptionError
from .calls import TIME
from .cases import Case, Source, open_source
from .checks import Deeds, check


def listed(source: str) -> str:
    """Return one line for each case."""
    found = open_source(source)
    lines = [f"{case.id:<24} {case.now.strftime(TIME)}  {' '.join(case.query.split())}" for case in found.cases]
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
    world = found.worlds[case.user]
    parts = {
        "request": [f"{case.query} ({case.now.strftime(TIME)}, {case.place})"],
        "tools": [", ".join(case.given)],
        "personal points": list(case.personal),
        "proactive points": list(case.proactive),
        "what the user likes": list(_lines(world.preferences)),
        "checks": list(_checks(found, case)),
    }
    return "\n".join(f"{name}:\n" + "\n".join(f"  {line}" for line in lines) for name, lines in parts.items())


def _lines(value: Any, place: str = "") -> Iterator[str]:
    """Return a nested object as lines of place and value."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _lines(inner, f"{place} / {name}" if place else str(name))
    elif isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
        yield f"{place}: {', '.join(map(str, value))}"
    elif isinstance(value, list):
        for number, inner in enumerate(value, start=1):
            yield from _lines(inner, f"{place} {number}")
    else:
        yield f"{place}: {value}"


def _checks(source: Source, case: Case) -> Iterator[str]:
    """Return the conditions in words; a name in brackets says which of the user's likes a value is."""
    if case.checks is None:
        yield "none; only a judge can tell"
        return
    nothing = Deeds([], "", [], source.worlds[case.user])
    for condition in check(case.checks, source.slots.get(case.user, {}), nothing).conditions:
        yield f"{'personal' if condition.personal else 'task'}: {condition.about}"
    for follow_up in case.follow_ups:
        yield f'says "{follow_up["say"]}" unless {follow_up["unless"]["tool"]} was done'


def _near(source: Source) -> str:
    return f"they are {source.cases[0].id} to {source.cases[-1].id}; `llamafactory-ext etapp cases` lists them."
