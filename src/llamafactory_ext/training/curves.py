"""The figures that a run logs beside its loss, as LLaMA Board draws them and its table shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TOOL, GENERAL, LOSS, BORDER = "#d1495b", "#2e6f95", "#1f77b4", "#8d99ae"


@dataclass(frozen=True)
class Curve:
    """One curve of the picture.

    Attributes:
        key: of the logged figure.
        label: in the picture.
        colour: of its line.
        complement: whether 1 minus the figure is shown.
        column: of the table of phases, as a message of the locales; "" for none.
    """

    key: str
    label: str
    colour: str
    complement: bool = False
    column: str = ""


@dataclass(frozen=True)
class Axis:
    """Curves with one axis.

    Attributes:
        label: of the axis.
        curves: those that it is for.
        share: whether all values are from 0 to 1.
    """

    label: str
    curves: tuple[Curve, ...]
    share: bool = False


LANGUAGE_MODEL: Final = Axis("language-model loss", (Curve("loss_lm", "loss", LOSS),))
