"""A group of options: which class declares them, what they take, and the method or stage they belong to."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from .values import Rule


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
        """Whether all options of the group have an effect with these values of the options that choose a method."""
        other, values = self.also
        return chosen.get(self.option) in self.values or chosen.get(other) in values

    def misplaced(self, args: Any, chosen: str) -> list[str]:
        """One sentence for each option that was changed although `chosen` is another method."""
        return [
            f"{name} has no effect with {self.option}: {chosen}; remove it, or set {self.option}: {self.values[0]}"
            for name in changed_options(args, self.arguments)
            if not self.applies({self.option: chosen, self.also[0]: getattr(args, self.also[0] or self.option)})
            and chosen not in self.shared.get(name, ())
        ]


def changed_options(args: Any, arguments: type) -> list[str]:
    """The options of one class whose value in `args` is not the default."""
    defaults = arguments()
    names = [option.name for option in fields(arguments)]
    return [name for name in names if getattr(args, name) != getattr(defaults, name)]
