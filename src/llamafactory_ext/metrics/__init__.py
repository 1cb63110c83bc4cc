"""Scores of the papers' benchmarks from saved predictions, in two modes.

`official` gives the verdicts of the published evaluators, quirks included, so that figures can stand beside those of
the papers; `strict` gives what the score should be. Needs neither LLaMA-Factory nor a GPU.
"""

from .predictions import Prediction, PredictionFile, read_predictions
from .references import BENCHMARKS, Item, References, read_references
from .report import MODES, Figure, Report, Verdict, read_report, read_verdicts, write_report
from .scoring import score

__all__ = [
    "BENCHMARKS",
    "MODES",
    "Figure",
    "Item",
    "Prediction",
    "PredictionFile",
    "References",
    "Report",
    "Verdict",
    "read_predictions",
    "read_references",
    "read_report",
    "read_verdicts",
    "score",
    "write_report",
]
