"""Tasks in one worker: which of them ended, and which one ended the worker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llamafactory_ext.metrics.sandbox import Limits, Outcome, tasks

pytestmark = pytest.mark.fast
LATE = "Timeout (0:00:04)!\n"  # as faulthandler says it


@pytest.mark.parametrize(
    ("status", "ends", "printed", "ended", "open_id"),
    [
        ("finished", "ab", "", ["a", "b"], None),
        ("failed", "a", LATE, ["a"], "b"),
        ("killed", "a", "", ["a"], "b"),
        ("timeout", "a", "", ["a"], None),
        ("timeout", "", "", [], "a"),
    ],
)
def test_a_worker_whose_own_time_is_over_is_no_fault_of_its_task(
    status: Any, ends: str, printed: str, ended: list[str], open_id: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(_: str, *, stdin: str, **__: Any) -> Outcome:
        job = json.loads(stdin)
        lines = []
        for task in job["tasks"]:
            lines.append(["begun", task["id"]])
            if task["id"] not in ends:
                break
            lines.append(["ended", [task["id"], 1]])
        text = "".join(f"\n{job['mark']}{json.dumps(line)}\n" for line in lines)
        return Outcome(status, text + printed, "")

    monkeypatch.setattr(tasks, "run_program", run)
    found = tasks.work("", [{"id": "a"}, {"id": "b"}], {}, Limits(seconds=1), [])
    assert (list(found.ended), found.open_id) == (ended, open_id)
