"""What test_kill.py starts: imports upstream once and forks a process for every run, killed or not.

Reads `options.json` in the folder it is given; writes `moments.json` of the run without interruption, and
`<name>.json` after each killed and resumed run.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from kills import TRIED, Kill, choose
from probe import Probe
from runs import Run, Snapshots, train

torch.set_num_threads(1)


def forked(log: Path, work: Callable[[], None]) -> int:
    """Runs `work` in a process of its own; its exit status, negative for a signal."""
    threads = len(list(Path("/proc/self/task").iterdir()))
    assert threads == 1, f"a process with {threads} threads must not be forked"
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def straight(folder: Path, options: dict[str, Any]) -> None:
    probe = Probe(folder / "straight")
    train({**options, "output_dir": str(folder / "straight")}, probe.callback)
    (folder / "moments.json").write_text(json.dumps(probe.moments), encoding="utf-8")


def kill(options: dict[str, Any], output: Path, at: Kill) -> None:
    probe = Probe(output, at.kill_at, at.tear)
    train({**options, "output_dir": str(output)}, probe.callback)


def resume(options: dict[str, Any], output: Path, report: Path) -> None:
    seen = Snapshots()
    run: Run = train({**options, "output_dir": str(output)}, seen)
    report.write_text(json.dumps({"steps": seen.steps, "said": run.said}), encoding="utf-8")


def main() -> None:
    folder = Path(sys.argv[1])
    options = json.loads((folder / "options.json").read_text("utf-8"))
    gc.collect()
    gc.freeze()  # the children need not look at all that was imported again and again
    if status := forked(folder / "straight.log", lambda: straight(folder, options)):
        sys.exit(status)
    moments = json.loads((folder / "moments.json").read_text("utf-8"))
    chosen = choose(moments)
    for each in [chosen[place] for place in TRIED]:
        output, log, report = (folder / f"{each.name}{suffix}" for suffix in ("", ".log", ".report"))
        killed = forked(log, partial(kill, options, output, each))
        resumed = forked(log, partial(resume, options, output, report))
        found = {"killed": killed, "resumed": resumed}
        if report.is_file():
            found |= json.loads(report.read_text("utf-8"))
        (folder / f"{each.name}.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
