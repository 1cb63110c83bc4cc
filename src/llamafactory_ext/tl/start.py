"""What stages tl_sft and tl_ppo settle at their start and keep in `tl_report.json`: the day their tools say.

A run that goes on writes the day on which it began, so that its second half reads the same tokens as its first.
"""

from __future__ import annotations

import datetime as calendar
from pathlib import Path
from typing import Any

from ..checkpoint.atomic import read_json, write_json
from ..errors import CheckpointError
from ..upstream.pipeline.dates import day_of

REPORT = "tl_report.json"
DATE = "date"


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
