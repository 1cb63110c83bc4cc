"""Which panel stands for which method, and which options a run gets from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..upstream.arguments import CitiArguments
from .options import Option, entered_values, options_of


@dataclass(frozen=True)
class Panel:
    """One accordion.

    Attributes:
        name: of the accordion's element, and of its texts.
        group: the dataclass whose options it shows.
        method: the fine-tuning type or training stage it belongs to.
    """

    name: str
    group: type
    method: str

    @cached_property
    def options(self) -> tuple[Option, ...]:
        return options_of(self.group)


PANELS = (Panel("citi_tab", CitiArguments, "citi"),)


def panel_options(finetuning_type: str, stage: str) -> tuple[Option, ...]:
    """The options that a run of this type and stage reads."""
    chosen = (panel for panel in PANELS if panel.method in (finetuning_type, stage))
    return tuple(option for panel in chosen for option in panel.options)


def panel_values(finetuning_type: str, stage: str, entered: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a command, from what stands in the panels' fields (by option name)."""
    return entered_values(panel_options(finetuning_type, stage), entered)
