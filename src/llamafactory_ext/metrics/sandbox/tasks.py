"""Tasks one after the other in one worker, of which each that ended is known, and the one that ended the worker.

A worker reads its job from standard input: what the caller gives, with "tasks" (each has an "id") and "mark". It
prints a line break, the mark and a JSON pair: ["begun", id], ["ended", [id, value]], or [name, value] of what else.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import Limits, Outcome, run_program

_SHOWN = 300  # characters of an error


@dataclass(frozen=True)
class Worked:
    """How a worker ended.

    Attributes:
        ended: values of the tasks that ended, by id.
        open_id: the task that ended the worker; None where it came to its end, or its own time was over.
        told: whatever else it said, by name.
        outcome: of the worker.
    """

    ended: Mapping[str, Any]
    open_id: str | None
    told: Mapping[str, Any]
    outcome: Outcome

    def why(self, what: str, seconds: int) -> tuple[bool, str]:
        """Return whether the open task took too long, and in words how it ended the worker.

        Args:
            what: the field's word for a task, such as "call".
            seconds: that it may take.
        """
        if self.outcome.status == "timeout" or "Timeout (" in self.outcome.output[-10_000:]:
            return True, f"the {what} did not end within {seconds} seconds"
        how = f"{self.outcome.status}: {self.outcome.error.strip()[-_SHOWN:]}"
        return False, f"the {what} ended its process ({how})"


def work(
    source: str, tasks: Sequence[Mapping[str, Any]], job: Mapping[str, Any], limits: Limits, readable: Sequence[Path]
) -> Worked:
    """Run one worker over the tasks.

    Raises:
        OptionError: this machine offers no isolation.
    """
    mark = secrets.token_hex(16)
    stdin = json.dumps({**job, "tasks": list(tasks), "mark": mark})
    outcome = run_program(source, stdin=stdin, limits=limits, readable=readable)
    ended: dict[str, Any] = {}
    open_id: str | None = None
    told: dict[str, Any] = {}
    for part in outcome.output.split(f"\n{mark}")[1:]:
        line, whole, _ = part.partition("\n")
        what: str
        value: Any
        what, value = json.loads(line) if whole else ("", None)
        if what == "begun":
            open_id = value
        elif what == "ended":
            open_id, ended[value[0]] = None, value[1]
        elif what:
            told[what] = value
    if outcome.status == "timeout" and ended:
        open_id = None  # the worker's time is over, not that of its task, which another worker takes
    return Worked(ended, open_id, told, outcome)
