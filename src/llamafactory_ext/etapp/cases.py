"""The cases of a benchmark run: an instruction for a user at a time, and where it comes from."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ..checkpoint.own import refuse_special
from ..errors import DataError, OptionError
from ..metrics.report import lines_of
from .world import World

_TRIAL = "@"
_NUMBER = re.compile("[1-9][0-9]{0,8}")
_ENCYCLOPEDIA = "search_from_wikipedia"
_LONGEST_LIST = 64 << 20
SHIPPED = ("mini", "mini-one-tool")


@dataclass(frozen=True)
class Case:
    """One instruction for one user.

    Attributes:
        id: user and number of the instruction, such as `mara_lindqvist:07`.
        user: whose world it is.
        number: of the instruction.
        now: the time.
        place: Home or Office.
        query: what the user says.
        given: tools on offer.
        personal: key points about the user.
        proactive: key points beyond the request.
        checks: what must have happened; None where only a judge can tell.
        follow_ups: what the user says if something has not happened.
        lacking: tools of it that have no data, or are none.
        stamp: the time as the source writes it, where that is another way than ours.
        trial: in which it is acted; a model that samples draws anew in each.
    """

    id: str
    user: str
    number: int
    now: datetime
    place: str
    query: str
    given: tuple[str, ...]
    personal: tuple[str, ...]
    proactive: tuple[str, ...]
    checks: Mapping[str, Any] | None = None
    follow_ups: tuple[Mapping[str, Any], ...] = ()
    lacking: tuple[str, ...] = ()
    stamp: str = ""
    trial: int = 0

    @property
    def degraded(self) -> str:
        """Say why the source cannot serve it as meant; "" if it can."""
        return f"no data for {', '.join(self.lacking)}" if self.lacking else ""


@dataclass(frozen=True)
class Source:
    """All worlds and cases of one origin.

    Attributes:
        name: mini, or the folder's.
        sha256: over everything that results depend on.
        worlds: by user.
        slots: what checks look for, by user.
        cases: user by user.
        absent: why a tool has no data, by its name.
        folder: of a checkout; "" for the mini world.
        encyclopedia: the hash of the one that was given beside it; "" for none.
    """

    name: str
    sha256: str
    worlds: Mapping[str, World]
    slots: Mapping[str, Mapping[str, Any]]
    cases: tuple[Case, ...]
    absent: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
    encyclopedia: str = ""
    by_id: Mapping[str, Case] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_id", {case.id: case for case in self.cases})

    @property
    def notes(self) -> tuple[str, ...]:
        """What is missing."""
        notes = [f"{tool} has no data here: {why}" for tool, why in self.absent.items()]
        degraded = sum(bool(case.lacking) for case in self.cases)
        return (*notes, *([f"{degraded} of {len(self.cases)} cases need a tool without data"] if degraded else []))

    def with_encyclopedia(self) -> Source:
        """Return it as a run saw it that was given an encyclopedia."""
        absent = {tool: why for tool, why in self.absent.items() if tool != _ENCYCLOPEDIA}
        cases = tuple(replace(c, lacking=tuple(n for n in c.lacking if n != _ENCYCLOPEDIA)) for c in self.cases)
        return replace(self, absent=absent, cases=cases)

    def case(self, key: str) -> Case:
        """Return the case of an id, whatever the trial.

        Raises:
            DataError: there is none.
        """
        found = self.by_id.get(split_id(key)[0])
        if found is None:
            raise DataError(f"{self.name} has no case {key!r}; list them with `llamafactory-ext etapp cases`.")
        return found


def open_source(source: str, wikipedia: str = "") -> Source:
    """Return the mini world, its cases of one tool, or a checkout of ETAPP.

    Args:
        source: mini, mini-one-tool, or the folder of a checkout.
        wikipedia: JSON lines for the encyclopedia, which no checkout has.

    Raises:
        DataError: no checkout there.
        OptionError: an encyclopedia for the mini world, which has its own.
    """
    if source in SHIPPED:
        from .mini import load, one_tool

        if wikipedia:
            raise OptionError("--wikipedia goes with a checkout; the mini world has an encyclopedia of its own.")
        return load() if source == "mini" else one_tool()
    from .checkout import Checkout

    return Checkout(Path(source), Path(wikipedia) if wikipedia else None).source()


def trial_id(case_id: str, trial: int) -> str:
    """Return the id of a trial; the first is the case's own."""
    return f"{case_id}{_TRIAL}{trial}" if trial else case_id


def split_id(key: str) -> tuple[str, int]:
    """Return the case and the trial that an id names; every trial has one id alone.

    Raises:
        DataError: what stands behind the mark is no trial as `trial_id` writes it.
    """
    name, mark, number = key.partition(_TRIAL)
    if mark and not _NUMBER.fullmatch(number):
        raise DataError(
            f"the id {key[:200]!r} ends with no trial; the first has the case's own id, others end with @1, @2, ..."
        )
    return name, int(number) if mark else 0


def trial_of(key: str) -> int:
    """Return the trial that an id names."""
    return split_id(key)[1]


def reasoning_cases(users: Sequence[str], instructions: int) -> list[tuple[str, int]]:
    """Return the published subset for costly models: two users for each instruction, drawn with seed 1."""
    dice = random.Random(1)
    return [(users[place], number) for number in range(instructions) for place in dice.sample(range(len(users)), 2)]


def chosen(source: Source, which: str) -> tuple[Case, ...]:
    """Return the cases that `--cases` names, in the source's order.

    Args:
        source: has them.
        which: all, reasoning, or a file with one id a line.

    Raises:
        OptionError: no such file, or an id that the source does not have.
    """
    if which == "all":
        return source.cases
    if which == "reasoning":
        users = list(source.worlds)
        if len(users) < 2:
            raise OptionError(f"--cases reasoning: it draws two users, and {source.name} has one; give all or a file.")
        drawn = set(reasoning_cases(users, 1 + max(case.number for case in source.cases)))
        return tuple(case for case in source.cases if (case.user, case.number) in drawn)
    try:
        named = ids_in(Path(which))
    except DataError as error:
        raise OptionError(f"--cases: {error.message.rstrip('.')}, or give all or reasoning.") from None
    unknown = sorted(named - source.by_id.keys())
    if unknown or not named:
        what = f"{len(unknown)} ids are no cases of {source.name}, such as {unknown[0]!r}" if unknown else "no ids"
        raise OptionError(f"--cases {which}: {what}; list them with `llamafactory-ext etapp cases`.")
    return tuple(case for case in source.cases if case.id in named)


def ids_in(path: Path) -> frozenset[str]:
    """Return the ids of a list, one a line.

    Raises:
        DataError: it cannot be read.
    """
    refuse_special(path)
    try:
        if path.stat().st_size > _LONGEST_LIST:
            raise DataError(f"{path} is longer than {_LONGEST_LIST:,} bytes; name a list of ids, one a line")
        lines = lines_of(path.read_text("utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); name a list of ids, one a line") from None
    except ValueError:
        raise DataError(f"{path} is no text in UTF-8; name a list of ids, one a line") from None
    return frozenset(line.strip() for line in lines if line.strip())
