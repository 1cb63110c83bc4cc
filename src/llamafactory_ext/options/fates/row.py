"""A row of the table of options: its fate with each method, the values it takes, and how a test tries it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

from ..values import Rule

METHODS: Final = ("citi", "tl_sft", "tl_ppo")
SHOWN: Final = {"citi": "finetuning_type: citi", "tl_sft": "stage: tl_sft", "tl_ppo": "stage: tl_ppo"}
Kind = Literal["works", "refused", "no effect"]


@dataclass(frozen=True)
class Fate:
    """What becomes of an option with one method.

    Attributes:
        kind: "works"; "refused" before anything is loaded; "no effect", which is warned of.
        text: follows the option's name in messages: the reason and the next step. "{method}" stands for the option
            that chooses the method.
    """

    kind: Kind
    text: str = ""


def refused(text: str) -> Fate:
    """Return the fate of an option that ends the command."""
    return Fate("refused", text)


def idle(text: str) -> Fate:
    """Return the fate of an option that is passed over with a warning."""
    return Fate("no effect", text)


WORKS: Final = Fate("works")


class MissingOptionError(AttributeError):
    """An option that this version of upstream does not have; what is said of it does not matter then."""


@dataclass(frozen=True)
class Command:
    """What a training command asks for, read by the conditions of rows.

    Attributes:
        method: one of METHODS, whose column is read.
        given: raw values by name, as they were written.
        groups: upstream's parsed groups, whose fields are found by name.
    """

    method: str
    given: Mapping[str, Any]
    groups: tuple[Any, ...] = ()

    def __getattr__(self, name: str) -> Any:
        for group in self.groups:
            if hasattr(group, name):
                return getattr(group, name)
        raise MissingOptionError(name)

    def group_of(self, name: str) -> Any:
        """Return the parsed group that has a field of this name."""
        return next(group for group in self.groups if hasattr(group, name))

    @property
    def shown(self) -> str:
        """The option that chooses the method, as messages show it."""
        return SHOWN[self.method]


Condition = Callable[[Command], list[str]]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One option.

    Attributes:
        name: of the option.
        citi: its fate with `finetuning_type: citi`, in stages sft and tl_sft.
        sft: with `stage: tl_sft`.
        ppo: with `stage: tl_ppo`, with every finetuning_type.
        takes: the values that can work; upstream checks few of them.
        types: finetuning types with which it has an effect; () for all.
        of: a switch without which it has no effect.
        ours: the option of tl_ppo that takes its place: refused there unless both say the same.
        needs: the package without which it is refused.
        always: whether chat, export and prediction with the method refuse it too.
        check: conditions between this option and others; a sentence per problem.
        trial: a value that is not the default, for the test; "$name" stands for something that the test makes.
        beside: other options of the trial, by method under "citi", "tl_sft" and "tl_ppo" or for all under "".
        along: options that only the run with the option gets, as it works with them alone.
        shows: how a run with the option differs from one without: "weights", "nothing" (the same weights, bit by bit),
            "file PATTERN" in output_dir, "log NAME" among the logged values, or "refused" by a condition.
        shows_with: the same for single methods.
        untried: why no run tries it; the page says so.
        note: a remark for the page.
    """

    name: str
    citi: Fate = WORKS
    sft: Fate = WORKS
    ppo: Fate = WORKS
    takes: Rule | None = None
    types: tuple[str, ...] = ()
    of: str = ""
    ours: str = ""
    needs: str = ""
    always: bool = False
    check: Condition | None = None
    trial: Any = None
    beside: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    along: Mapping[str, Any] = field(default_factory=dict)
    shows: str = "weights"
    shows_with: Mapping[str, str] = field(default_factory=dict)
    untried: str = ""
    note: str = ""

    def fate(self, method: str) -> Fate:
        """Return its fate with one of METHODS."""
        found: Fate = {"citi": self.citi, "tl_sft": self.sft, "tl_ppo": self.ppo}[method]
        return found

    def besides(self, method: str) -> dict[str, Any]:
        """Return the other options of its trial with a method."""
        return {**self.beside.get("", {}), **self.beside.get(method, {})}

    def effect(self, method: str) -> str:
        """Return how a run with a method shows the option."""
        return self.shows_with.get(method, self.shows)


_FIELDS: Final = frozenset(part.name for part in fields(Row))


def row(name: str, trial: Any = None, *, every: Fate | None = None, beside: Any = None, **parts: Any) -> Row:
    """Return a row; `every` is its fate with all methods, `beside` holds options of the trial for all of them."""
    assert parts.keys() <= _FIELDS, f"{name}: {parts.keys() - _FIELDS}"
    if every is not None:
        parts = {"citi": every, "sft": every, "ppo": every} | parts
    if beside is not None:
        by_method = all(key in ("", *METHODS) for key in beside)
        parts["beside"] = beside if by_method else {"": beside}
    return Row(name=name, trial=trial, **parts)


def group(trials: Mapping[str, Any], **parts: Any) -> tuple[Row, ...]:
    """Return rows that share a fate, by the value of each one's trial."""
    return tuple(row(name, trial, **parts) for name, trial in trials.items())
