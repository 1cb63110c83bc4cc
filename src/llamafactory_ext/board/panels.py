"""Which panel stands for which method, and which options a run gets from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..methods import row_of
from ..options.groups import GROUPS, RULES, Group
from ..options.values import check_values
from .options import Option, entered_values, options_of


@dataclass(frozen=True)
class Panel:
    """One accordion: the options of one group."""

    group: Group

    @property
    def name(self) -> str:
        """Return the name of the accordion's element, and of its texts."""
        return f"{self.group.title or self.group.values[0]}_tab"

    @property
    def label(self) -> str:
        """What the accordion says where the locales say nothing."""
        row = row_of(self.group.values[0])
        return f"{row.title if row else self.group.values[0]} configurations"

    @cached_property
    def options(self) -> tuple[Option, ...]:
        return options_of(self.group.arguments)

    def belongs_to(self, chosen: Mapping[str, str]) -> bool:
        """Tell whether a run with this `finetuning_type` and `stage` is what the panel is made for."""
        return self.group.applies(chosen)

    def options_for(self, chosen: Mapping[str, str]) -> tuple[Option, ...]:
        """Return the options of this panel that such a run reads."""
        if self.belongs_to(chosen):
            return self.options
        shared = {name for name, values in self.group.shared.items() if chosen[self.group.option] in values}
        return tuple(option for option in self.options if option.name in shared)


PANELS = tuple(Panel(group) for group in GROUPS)


def panel_values(chosen: Mapping[str, str], entered: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a command, from what stands in the panels' fields.

    Args:
        chosen: the run's `finetuning_type` and `stage`.
        entered: option name to what stands in its field.
    """
    return entered_values([option for panel in PANELS for option in panel.options_for(chosen)], entered)


def problems_of(values: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each value that its option does not take."""
    return check_values(values, RULES)[1]
