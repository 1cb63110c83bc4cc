"""What DATA logs beside the loss: the loss of the rows, and how far the gates are open."""

from __future__ import annotations

from typing import Final

from ..training.curves import BORDER, GENERAL, LANGUAGE_MODEL, LOSS, TOOL, Axis, Curve

CURVES: Final = (
    LANGUAGE_MODEL,
    Axis("orthogonality loss", (Curve("loss_ortho", "loss", LOSS),)),
    Axis("gates, mean over groups", (Curve("gate_low", "low", GENERAL), Curve("gate_high", "high", TOOL)), share=True),
    Axis("gates, deviation over tokens", (Curve("gate_sd", "both", BORDER),)),
)
