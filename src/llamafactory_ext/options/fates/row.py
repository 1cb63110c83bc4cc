"""A row of the table of options: its fate, its values and how a test tries it; and the column of a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, Final, Literal

from ...methods import load, methods, names, row_of
from ..values import Rule

METHODS: Final = names()
SHOWN: Final = {row.name: row.shown for row in methods()}
Kind = Literal["works", "refused", "no effect"]


# What only GaLore, APOLLO and BAdam read.
OF_OPTIMISERS: Final = (
    "galore_target",
    "galore_rank",
    "galore_update_interval",
    "galore_scale",
    "galore_proj_type",
    "apollo_target",
    "apollo_rank",
    "apollo_update_interval",
    "apollo_scale",
    "apollo_proj",
    "apollo_proj_type",
    "apollo_scale_type",
    "apollo_scale_front",
    "badam_mode",
    "badam_start_block",
    "badam_switch_mode",
    "badam_switch_interval",
    "badam_update_ratio",
    "badam_mask_mode",
    "badam_verbose",
)


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

    def allows(self, option: str) -> bool:
        """Return whether the method's column refuses no such option."""
        fate = column_of(self.method).fates.get(option)
        return fate is None or fate.kind == "works"


Condition = Callable[[Command], list[str]]


@dataclass(frozen=True, kw_only=True)
class Column:
    """What becomes of upstream's options with one method, by the names of options.

    Attributes:
        fates: its own; all others are the table's.
        instead: options of the method that take the place of upstream's: these are refused unless both say the same.
        checks: conditions that hold for the method alone; a sentence per problem.
        measures: what its evaluations measure, without `eval_`; () for the loss and the times.
        measured_with: further ones by the option that brings them.
        measured_parts: how the names of further measures begin; "" without any.
        groups_weights: whether it groups weights for the optimiser itself.
        never_quantized: whether the method refuses a quantized base anyway.
        reentry: whether its recomputation may reenter.
        resumes_alone: whether it finds what to resume from by itself, and takes no name of a checkpoint.
        beside: other options of a trial.
        shows: how a run with an option differs from one without, where the table says otherwise.
        notes: remarks for the page.
    """

    fates: Mapping[str, Fate] = field(default_factory=dict)
    instead: Mapping[str, str] = field(default_factory=dict)
    checks: tuple[Condition, ...] = ()
    measures: tuple[str, ...] = ()
    measured_with: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    measured_parts: str = ""
    groups_weights: bool = False
    never_quantized: Callable[[Command], bool] | None = None
    reentry: bool = True
    resumes_alone: bool = False
    beside: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    shows: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


@cache
def column_of(method: str) -> Column:
    """Return a method's column; one without own fates where its row names none."""
    row = row_of(method)
    found: Column = load(row.column) if row is not None and row.column else Column()
    return found


@dataclass(frozen=True, kw_only=True)
class Row:
    """One option.

    Attributes:
        name: of the option.
        every: its fate with all methods whose columns say nothing else.
        takes: the values that can work; upstream checks few of them.
        types: finetuning types with which it has an effect; () for all.
        of: a switch without which it has no effect.
        needs: the package without which it is refused.
        always: whether chat, export and prediction with the method refuse it too.
        check: conditions between this option and others; a sentence per problem.
        trial: a value that is not the default, for the test; "$name" stands for something that the test makes.
        beside: other options of the trial.
        along: options that only the run with the option gets, as it works with them alone.
        shows: how a run with the option differs from one without: "weights", "nothing" (the same weights, bit by bit),
            "file PATTERN" in output_dir, "log NAME" among the logged values, or "refused" by a condition.
        untried: why no run tries it; the page says so.
        note: a remark for the page.
    """

    name: str
    every: Fate = WORKS
    takes: Rule | None = None
    types: tuple[str, ...] = ()
    of: str = ""
    needs: str = ""
    always: bool = False
    check: Condition | None = None
    trial: Any = None
    beside: Mapping[str, Any] = field(default_factory=dict)
    along: Mapping[str, Any] = field(default_factory=dict)
    shows: str = "weights"
    untried: str = ""
    note: str = ""

    def fate(self, method: str) -> Fate:
        """Return its fate with one of METHODS."""
        return column_of(method).fates.get(self.name, self.every)

    def instead(self, method: str) -> str:
        """Return the option of a method that takes its place, "" without any."""
        return column_of(method).instead.get(self.name, "")

    @property
    def notes(self) -> list[str]:
        """The remarks of the table and of the methods."""
        own = [column_of(method).notes.get(self.name, "") for method in METHODS]
        return [note for note in (self.note, *own) if note]

    def besides(self, method: str) -> dict[str, Any]:
        """Return the other options of its trial with a method."""
        return {**self.beside, **column_of(method).beside.get(self.name, {})}

    def effect(self, method: str) -> str:
        """Return how a run with a method shows the option."""
        return column_of(method).shows.get(self.name, self.shows)


_FIELDS: Final = frozenset(part.name for part in fields(Row))


def row(name: str, trial: Any = None, **parts: Any) -> Row:
    """Return a row; `every` is its fate with all methods, `beside` holds other options of the trial."""
    assert parts.keys() <= _FIELDS, f"{name}: {parts.keys() - _FIELDS}"
    return Row(name=name, trial=trial, **parts)


def group(trials: Mapping[str, Any], **parts: Any) -> tuple[Row, ...]:
    """Return rows that share a fate, by the value of each one's trial."""
    return tuple(row(name, trial, **parts) for name, trial in trials.items())
