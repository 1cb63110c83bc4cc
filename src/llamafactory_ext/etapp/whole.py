"""How much of a run a file holds: its settings lie beside it, and every case has as many trials as they say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..checkpoint.own import refuse_special
from ..errors import DataError
from ..serving.infer.answers import settings_path
from .cases import Source, split_id, trial_id

_MOST_TRIALS, _MOST_QUESTIONS = 1000, 10**9
_MOST_BYTES = 1 << 20


def settings_of(path: Path) -> Mapping[str, Any]:
    """Return the settings of a run; empty where none lie beside its file.

    Raises:
        DataError: they cannot be read, or are not as a run writes them.
    """
    beside = settings_path(path)
    try:
        refuse_special(beside)
        if beside.stat().st_size > _MOST_BYTES:
            raise ValueError(f"longer than {_MOST_BYTES:,} bytes")
        found = json.loads(beside.read_text("utf-8"))
        if not isinstance(found, dict):
            raise ValueError("no object")
        if wrong := [name for name, is_one in _FORMS.items() if not is_one(found.get(name))]:
            raise ValueError(f"no {wrong[0]} of a run")
    except FileNotFoundError:
        return {}
    except (DataError, OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else getattr(error, "message", str(error))
        raise DataError(
            f"{beside}: the settings of the run cannot be read ({why}), so nobody can tell whether it is whole. "
            "Delete this file, and repeat the command of the run, which writes it anew."
        ) from None
    return found


def _is_count(most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and 1 <= value <= most


_FORMS: Mapping[str, Callable[[Any], bool]] = {
    "benchmark": lambda value: value == "etapp",
    "trials": _is_count(_MOST_TRIALS),
    "questions": _is_count(_MOST_QUESTIONS),
    **dict.fromkeys(("source", "model_hash"), lambda value: isinstance(value, str) and bool(value)),
    "wikipedia": lambda value: isinstance(value, str | None),
}


def as_run(source: Source, path: Path) -> Source:
    """Return the cases as the run of a file saw them: where it had an encyclopedia, no case lacks one."""
    return source.with_encyclopedia() if settings_of(path).get("wikipedia") else source


def trials_of(path: Path, ids: Iterable[str]) -> int:
    """Return how many trials each case of a run has, by its settings or, where there are none, by its ids.

    Raises:
        DataError: an id is of a trial that the run does not have.
    """
    known: int | None = settings_of(path).get("trials")
    most = 1
    for key in ids:
        trial = split_id(key)[1]
        if known is not None and trial >= known:
            raise DataError(f"{path}: {key} is a trial beyond the {known} of this run; delete its line.")
        most = max(most, trial + 1)
    return known or most


def whole_cases(path: Path, ids: Iterable[str]) -> int:
    """Return how many cases have all trials of their run."""
    counts: dict[str, int] = {}
    given = list(ids)
    for key in given:
        counts[split_id(key)[0]] = counts.get(split_id(key)[0], 0) + 1
    trials = trials_of(path, given)
    return sum(count == trials for count in counts.values())


def unfinished(path: Path, ids: Iterable[str]) -> list[str]:
    """Return a note on a run that was not gone on with to its end, or of which nobody knows; none for a whole one."""
    given = list(dict.fromkeys(ids))
    cases, trials = list(dict.fromkeys(split_id(key)[0] for key in given)), trials_of(path, given)
    settings = settings_of(path)
    bare = f"no settings lie beside {path.name}: its ids alone tell which cases and trials its run had"
    whole = max(settings.get("questions", 0), len(cases) * trials)
    if len(given) >= whole:
        return [] if settings else [bare]
    there = set(given)
    wanted = (trial_id(case, trial) for trial in range(trials) for case in cases)
    absent = next((key for key in wanted if key not in there), "")
    what = f", such as {absent}" if absent else ""
    lacking = f"the run is not complete: {len(given)} of {whole} episodes{what}; repeat its command to go on"
    return [lacking] if settings else [lacking, bare]
