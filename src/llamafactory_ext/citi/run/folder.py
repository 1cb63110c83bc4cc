"""The folder of a CITI run: the phases that it knows, and the files that it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...training.phased import PhasedFolder


@dataclass(frozen=True)
class RunFolder(PhasedFolder):
    """`output_dir` of a CITI run."""

    NAMES: ClassVar = ("rp", "mi", "uco")
    FILES: ClassVar = ("importance.json", "selection.json", "report.json")
    LATER: ClassVar = {
        "cutoff_action": "keep",
        "resize_vocab": False,
        "citi_importance_score": "auto",
        "citi_importance_stop": 0.0,
    }
