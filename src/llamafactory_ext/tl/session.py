"""A run of tl_sft, tl_ppo or data: what every run begins with, and the day that its tools say."""

from __future__ import annotations

import datetime as calendar
from pathlib import Path
from typing import Any

from ..training.processes import from_main
from ..upstream.pipeline.dates import today, with_day
from ..upstream.pipeline.session import Session
from .start import REPORT, day_in


class DatedSession(Session):
    """A run whose template writes the day on which it began: that of the run that it goes on with, else today."""

    def dated(self, template: Any) -> Any:
        return with_day(template, from_main(_first_day(self.training_args) or today()))


def _first_day(training_args: Any) -> calendar.date | None:
    """Return the day of the run that this one goes on with."""
    named = training_args.resume_from_checkpoint
    if isinstance(named, str):
        return day_in(Path(named) / REPORT) or day_in(Path(named).parent / REPORT)
    folder = Path(training_args.output_dir)
    if training_args.overwrite_output_dir or not any(folder.glob("checkpoint-*")):
        return None
    return day_in(folder / REPORT)
