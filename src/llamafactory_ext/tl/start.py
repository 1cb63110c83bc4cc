"""What stages tl_sft and tl_ppo settle at their start and keep in `tl_report.json`: the day their tools say.

A run that goes on writes the day on which it began, so that its second half reads the same tokens as its first.
"""

from __future__ import annotations

import datetime as calendar
from pathlib import Path
from typing import Any

from ..checkpoint.atomic import read_json, write_json
from ..errors import CheckpointError
from ..training.processes import from_main
from ..upstream.pipeline.dates import day_of, today, with_day
from ..upstream.pipeline.session import Session

REPORT = "tl_report.json"
DATE = "date"


class DatedSession(Session):
    """A run whose template writes the day on which it began: that of the run that it goes on with, else today."""

    def dated(self, template: Any) -> Any:
        return with_day(template, from_main(_first_day(self.training_args) or today()))


def start_facts(template: Any, name: str | None, served: dict[str, Any]) -> dict[str, Any]:
    """Return what the report keeps: template, comparison with the served prompt, and the day where tools say one."""
    day = day_of(template)
    return {"template": name, "served_prompt": served, **({DATE: day.isoformat()} if day is not None else {})}


def keep_start(folder: Path, facts: dict[str, Any]) -> None:
    """Write the report of a stage that has nothing else to report."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / REPORT, facts)


def day_in(report: Path) -> calendar.date | None:
    """Return the day that a report keeps; None without one."""
    try:
        kept = read_json(report, "report")
        return calendar.date.fromisoformat(str(kept[DATE])) if isinstance(kept, dict) and DATE in kept else None
    except (CheckpointError, ValueError):
        return None


def _first_day(training_args: Any) -> calendar.date | None:
    """Return the day of the run that this one goes on with."""
    named = training_args.resume_from_checkpoint
    if isinstance(named, str):
        return day_in(Path(named) / REPORT) or day_in(Path(named).parent / REPORT)
    folder = Path(training_args.output_dir)
    if training_args.overwrite_output_dir or not any(folder.glob("checkpoint-*")):
        return None
    return day_in(folder / REPORT)
