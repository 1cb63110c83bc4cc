"""The groups of our options: which class declares them, what they take, and the methods they belong to."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Final

from ..methods import Method, load, methods, names
from . import data, run
from .data import DataArguments
from .run import RunArguments
from .values import Rule, check_values


@dataclass(frozen=True)
class Group:
    """Options of one method.

    Attributes:
        arguments: the dataclass that declares them.
        rules: what each takes.
        option: the option that chooses the method, such as `stage`.
        values: its values with which the options of the group have an effect.
        shared: options of the group that also have one with the values named there.
        also: another option and its values, with which all options of the group have an effect too.
        title: of its panel; "" takes the first of `values`.
    """

    arguments: type
    rules: Mapping[str, Rule]
    option: str
    values: tuple[str, ...]
    shared: Mapping[str, tuple[str, ...]]
    also: tuple[str, tuple[str, ...]] = ("", ())
    title: str = ""

    def applies(self, chosen: Mapping[str, Any]) -> bool:
        """Tell whether all options of the group have an effect beside these values of those that choose a method."""
        other, values = self.also
        return chosen.get(self.option) in self.values or chosen.get(other) in values

    def misplaced(self, args: Any, chosen: str) -> list[str]:
        """Return one sentence for each option that was changed although `chosen` is another method."""
        return [
            f"{name} has no effect with {self.option}: {chosen}; remove it, or set {self.option}: {self.values[0]}"
            for name in changed_options(args, self.arguments)
            if not self.applies({self.option: chosen, self.also[0]: getattr(args, self.also[0] or self.option)})
            and chosen not in self.shared.get(name, ())
        ]


def changed_options(args: Any, arguments: type) -> list[str]:
    """Return the options of one class whose value in `args` is not the default."""
    defaults = arguments()
    names = [option.name for option in fields(arguments)]
    return [name for name in names if getattr(args, name) != getattr(defaults, name)]


def _group_of(method: Method) -> Group:
    return Group(load(method.arguments), load(method.rules), method.option, (method.name,), method.shared)


def _of_all(arguments: type, rules: Mapping[str, Rule], title: str) -> Group:
    return Group(arguments, rules, "stage", names("stage"), {}, ("finetuning_type", names("finetuning_type")), title)


GROUPS: Final = (
    *map(_group_of, methods()),
    _of_all(DataArguments, data.RULES, "ext_data"),
    _of_all(RunArguments, run.RULES, "ext_run"),
)
RULES: Final[Mapping[str, Rule]] = {name: rule for group in GROUPS for name, rule in group.rules.items()}


def option_names(*arguments: type) -> tuple[str, ...]:
    """Return the names of the options that these classes declare, in order; of all our options without any."""
    kinds = arguments or tuple(group.arguments for group in GROUPS)
    return tuple(option.name for kind in kinds for option in fields(kind))


def method_options() -> tuple[str, ...]:
    """Return the names of the options that the methods' rows declare, without those that all methods share."""
    return option_names(*(load(row.arguments) for row in methods()))


def looks_like_ours(name: str, known: Container[str] = ()) -> bool:
    """Return whether a name is an option of ours, or an unknown one that begins like those of a method.

    Args:
        name: as somebody wrote it.
        known: the options that others have declared.
    """
    return name in RULES or (name not in known and any(belongs(name, load(row.arguments)) for row in methods()))


def belongs(name: str, arguments: type) -> bool:
    """Return whether a class declares an option, or all of its options begin as this unknown one does."""
    family = _family(arguments)
    return name in option_names(arguments) or (name not in RULES and bool(family) and name.startswith(f"{family}_"))


@cache
def _family(arguments: type) -> str:
    """Return the first word that all options of a class share; "" where they share none."""
    words = {name.partition("_")[0] for name in option_names(arguments)}
    return words.pop() if len(words) == 1 else ""


def acts(name: str, chosen: Mapping[str, Any]) -> bool:
    """Return whether an option of ours has an effect beside these values of the others; those of no method have."""
    for group in GROUPS:
        if name in group.rules:
            return group.applies(chosen) or chosen.get(group.option) in group.shared.get(name, ())
    return True


def normalise(args: Any) -> list[str]:
    """Turn our options into their declared types in place, wrong ones into their defaults; return what was wrong."""
    problems = []
    for group in GROUPS:
        given = {name: getattr(args, name) for name in option_names(group.arguments)}
        values, wrong = check_values(given, group.rules)
        problems += wrong
        defaults = group.arguments()
        for name in given:
            setattr(args, name, values.get(name, getattr(defaults, name)))
    return problems
