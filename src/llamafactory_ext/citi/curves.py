"""What CITI's phases log beside the loss: the router loss, and the experts' weight on tool and on general data."""

from __future__ import annotations

from typing import Final

from ..training.curves import GENERAL, LANGUAGE_MODEL, LOSS, TOOL, Axis, Curve

CURVES: Final = (
    LANGUAGE_MODEL,
    Axis("router loss", (Curve("loss_router", "loss", LOSS),)),
    Axis(
        "experts' weight (1 - gate 0)",
        (
            Curve("gate0_tool", "tool data", TOOL, complement=True, column="experts_tool"),
            Curve("gate0_general", "general data", GENERAL, complement=True, column="experts_general"),
        ),
        share=True,
    ),
)
